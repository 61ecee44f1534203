"""Plugins of Kong's consumers and consumer groups."""

from __future__ import annotations

from authz.admin.moving import kong_limits
from authz.admin.moving.kong_auth import GUARDS, limits_of
from authz.admin.moving.kong_people import Consumers, own_plugins
from authz.admin.moving.names import id_of
from authz.admin.moving.report import Path, Report
from authz.admin.moving.source import mapping, text
from authz.admin.moving.wanted import Plain


def take_plugins(plain: Plain, consumers: Consumers, report: Report) -> list[Plain]:
    """Give consumers what theirs say, and return the groups that have something of their own."""
    groups: dict[str, Plain] = {}
    for at, scopes, plugin in own_plugins(plain):
        name = text(plugin.get("name"))
        if not plugin.get("enabled", True):
            report.other(at, "is switched off")
            continue
        owner = _owner(scopes, consumers, groups)
        if name in GUARDS:
            for each in _shut(scopes, consumers):
                each["disabled"] = True
            if name == "request-termination" and owner is not None and "username" in owner:
                report.changed(at, "as a consumer that is disabled")
            else:
                report.left(at, f"{name}: whom it is for is disabled: see that it is not needed")
        elif name == kong_limits.KIND and owner is not None:
            _limit(owner, at, plugin, report)
        else:
            report.left(at, f"{name} of a consumer or a group")
    return [group for group in groups.values() if "access" in group]


def _owner(
    scopes: list[tuple[str, str]], consumers: Consumers, groups: dict[str, Plain]
) -> Plain | None:
    """Whose a plugin is; None for nobody, and for one that is of a service or a route, too."""
    if len(scopes) != 1:
        return None
    [(kind, name)] = scopes
    if kind == "consumer":
        return consumers.find(name)
    return groups.setdefault(id_of(name), {"id": id_of(name)}) if name else None


def _shut(scopes: list[tuple[str, str]], consumers: Consumers) -> list[Plain]:
    """Whom a plugin is for, anywhere."""
    found: list[Plain] = []
    for kind, name in scopes:
        if kind == "consumer_group":
            found += consumers.members(name)
        elif kind == "consumer" and (owner := consumers.find(name)) is not None:
            found.append(owner)
    return found


def _limit(owner: Plain, at: Path, plugin: Plain, report: Report) -> None:
    limits = limits_of(mapping(plugin.get("config")), at, report.add, personal=True)
    if not limits:
        return
    if "access" in owner:
        report.left(at, "there are limits of the same already")
        return
    if "username" in owner:
        for limit in limits:  # one consumer's calls are no group's
            limit["by"] = "consumer" if limit["by"] == "group" else limit["by"]
    owner["access"] = {"limits": limits}
