import pytest

from halfbeat import errors, subjects
from halfbeat.v1 import common_pb2


@pytest.mark.parametrize("kind", subjects.KINDS, ids=lambda k: f"{k.kind}.{k.verb}")
def test_every_subject_parses_back_to_its_kind(kind: subjects.Kind) -> None:
    assert subjects.parse(kind.of("abc-1_2")) == (kind, "abc-1_2")


@pytest.mark.parametrize("sid", ["", "a.b", "a b", "*", ">", "a" * 65, "ü"])
def test_a_session_id_that_could_break_out_of_its_subject_is_refused(sid: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        subjects.TURN_COMMIT.of(sid)


@pytest.mark.parametrize("subject", ["hb.v2.turn.commit.a", "hb.v1.turn.nothing.a", "hb.v1.turn.commit", "x"])
def test_an_unknown_subject_is_none(subject: str) -> None:
    assert subjects.parse(subject) is None


@pytest.mark.parametrize("code", [c for c in common_pb2.ErrorCode.values() if c])
def test_every_error_code_has_a_class_and_codes_for_each_edge(code: int) -> None:
    error = errors.from_message(common_pb2.Error(code=code, message="m"))  # type: ignore[arg-type]
    assert error.code == code
    assert error.to_message().code == code
    assert code in errors.CODES


def test_all_grpc_codes_exist() -> None:
    grpc = pytest.importorskip("grpc")
    for codes in errors.CODES.values():
        assert hasattr(grpc.StatusCode, codes.grpc)
