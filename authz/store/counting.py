"""Counting in the store: one script, run whole or not at all, by the store's own clock.

A window's counter is when it began and how many were let in; a bucket's is when it was last looked
at and how much is in it, in units of which one request is `window` and one millisecond drains
`most`, so that all of it is whole numbers. Each goes by itself soon after it says nothing any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from msgspec import Struct

from authz.quotas import Quota, Standing

#: Numbers of an answer for each counter.
_FIELDS = 4


class Script(Struct, frozen=True):
    """What runs in the store, and the name under which a store that ran it knows it."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        # Not for security: it is the name that EVALSHA takes.
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


#: KEYS: what may be used once, then counters. ARGV: how many are to be used once; 1 to look and
#: change nothing; the time in milliseconds, or -1 for the store's own; of each to be used once its
#: lifetime in seconds; of each counter requests, window, burst (0: a window) and how many are
#: wanted, of which a window gives what it has. Answers the number of the first that was used before
#: (else 0), and of each counter what is left, when it is whole again, the wait, and what was given.
SPEND = Script.of("""
local once, looking, now = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function release(last)
  for i = 1, last do redis.call('DEL', KEYS[i]) end
end
for i = 1, once do
  if not redis.call('SET', KEYS[i], '1', 'EX', ARGV[3 + i], 'NX') then
    release(i - 1)
    return {i}
  end
end
local answer, writes, refused = {0}, {}, false
local kept = redis.call('MGET', unpack(KEYS, once + 1))
for i = 1, #kept do
  local at = 3 + once + 4 * (i - 1)
  local most, window = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local burst, wanted = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local since, used = string.match(kept[i] or '', '^(%d+) (%d+)$')
  since, used = tonumber(since) or now, tonumber(used) or 0
  if since > now then
    -- The clock was set back: begin anew from here with what is used, whatever comes of this.
    since = now
    if not looking then
      redis.call('SET', KEYS[once + i], string.format('%.0f %.0f', since, used), 'KEEPTTL')
    end
  end
  local left, given, reset, wait
  if burst == 0 then
    if now - since >= window then since, used = now, 0 end
    left = math.max(0, most - used)
    given = math.min(wanted, left)
    used = used + given
    left, reset = left - given, since + window - now
    wait = given > 0 and 0 or reset
  else
    used, since = math.max(0, used - (now - since) * most), now
    local over = used + wanted * window - burst * window
    given = over > 0 and 0 or wanted
    wait = over > 0 and math.ceil(over / most) or 0
    used = used + given * window
    left = math.max(0, math.floor((burst * window - used) / window))
    reset = math.ceil(used / most)
  end
  refused = refused or given == 0
  if looking or given == 0 then used = nil end
  writes[i] = used and {KEYS[once + i], string.format('%.0f %.0f', since, used), reset}
  for _, number in ipairs({left, reset, wait, given}) do answer[#answer + 1] = number end
end
if refused then
  release(once)
  -- The others still have what they would have given.
  for row = 2, #answer, 4 do answer[row] = answer[row] + answer[row + 3] end
elseif not looking then
  for i = 1, #kept do
    -- Some seconds longer than it says anything, for a clock that is set back by less.
    redis.call('SET', writes[i][1], writes[i][2], 'PX', string.format('%.0f', writes[i][3] + 5000))
  end
end
return answer
""")


class Use(Struct, frozen=True):
    """A key that may be used once within so many seconds."""

    key: str
    seconds: int


class Taken(Struct, frozen=True):
    """How a counter stands, and how many requests were taken from it."""

    standing: Standing
    given: int


def arguments(
    uses: Sequence[Use],
    quotas: Sequence[Quota],
    wanted: Sequence[int],
    *,
    looking: bool = False,
    at: int = -1,
) -> list[int]:
    """ARGV of `SPEND`."""
    numbers = [len(uses), int(looking), at, *(use.seconds for use in uses)]
    for quota, count in zip(quotas, wanted, strict=True):
        numbers += (quota.most, quota.window, quota.burst, count)
    return numbers


def result(answer: Sequence[int]) -> tuple[int | None, list[Taken]]:
    """(index of what was used before, how each counter stands) of an answer of `SPEND`."""
    if answer[0]:
        return answer[0] - 1, []
    numbers = [int(number) for number in answer[1:]]
    rows = (numbers[at : at + _FIELDS] for at in range(0, len(numbers), _FIELDS))
    return None, [Taken(Standing(left, reset, wait), given) for left, reset, wait, given in rows]
