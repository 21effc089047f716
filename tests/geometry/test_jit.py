from lmmrotate.geometry.jit import jit


def test_works_where_no_cache_can_be_written() -> None:
    """numba finds no folder for the cache of a function that comes from no file."""
    scope: dict[str, object] = {}
    exec(compile("def double(x): return 2 * x", "<nowhere>", "exec"), scope)
    double = scope["double"]
    assert callable(double)
    assert jit(double)(21) == 42
