"""Every field that this service reads or writes exists under the number that Envoy uses.

Spelled out by hand: it fails even where our definition and the descriptor file change together.
"""

import pytest

from authz.pb import (
    address_pb2,
    attribute_context_pb2,
    base_pb2,
    external_auth_pb2,
    http_status_pb2,
    status_pb2,
)

FILES = (
    address_pb2,
    attribute_context_pb2,
    base_pb2,
    external_auth_pb2,
    http_status_pb2,
    status_pb2,
)
MESSAGES = {
    name: kind for file in FILES for name, kind in file.DESCRIPTOR.message_types_by_name.items()
}
CONTEXT = MESSAGES["AttributeContext"]
MESSAGES |= {f"AttributeContext.{kind.name}": kind for kind in CONTEXT.nested_types}

LISTED = {
    "CheckRequest": "attributes=1",
    "AttributeContext": "source=1 destination=2 request=4 context_extensions=10 "
    "metadata_context=11 tls_session=12 route_metadata_context=13",
    "AttributeContext.Peer": "address=1 service=2 labels=3 principal=4 certificate=5",
    "AttributeContext.Request": "time=1 http=2",
    "AttributeContext.HttpRequest": "id=1 method=2 headers=3 path=4 host=5 scheme=6 query=7 "
    "fragment=8 size=9 protocol=10 body=11 raw_body=12 header_map=13",
    "AttributeContext.TLSSession": "sni=1",
    "Address": "socket_address=1 pipe=2 envoy_internal_address=3",
    "SocketAddress": "address=2 port_value=3",
    "Pipe": "path=1",
    "Metadata": "filter_metadata=1 typed_filter_metadata=2",
    "HeaderMap": "headers=1",
    "HeaderValue": "key=1 value=2 raw_value=3",
    "HeaderValueOption": "header=1 append=2 append_action=3 keep_empty_value=4",
    "QueryParameter": "key=1 value=2",
    "CheckResponse": "status=1 denied_response=2 ok_response=3 dynamic_metadata=4 error_response=5",
    "OkHttpResponse": "headers=2 dynamic_metadata=3 headers_to_remove=5 response_headers_to_add=6 "
    "query_parameters_to_set=7 query_parameters_to_remove=8",
    "DeniedHttpResponse": "status=1 headers=2 body=3",
    "HttpStatus": "code=1",
    "Status": "code=1 message=2 details=3",
}


@pytest.mark.parametrize("name", LISTED)
def test_fields(name: str) -> None:
    numbers = {field.name: field.number for field in MESSAGES[name].fields}
    listed = dict(pair.split("=") for pair in LISTED[name].split())
    assert {field: int(number) for field, number in listed.items()}.items() <= numbers.items()


def test_an_answer_is_one_of_three() -> None:
    oneof = MESSAGES["CheckResponse"].oneofs_by_name["http_response"]
    assert {f.name for f in oneof.fields} == {"ok_response", "denied_response", "error_response"}


def test_append_actions() -> None:
    assert dict(base_pb2.HeaderValueOption.HeaderAppendAction.items()) == {
        "APPEND_IF_EXISTS_OR_ADD": 0,
        "ADD_IF_ABSENT": 1,
        "OVERWRITE_IF_EXISTS_OR_ADD": 2,
        "OVERWRITE_IF_EXISTS": 3,
    }
