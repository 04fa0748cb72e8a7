"""The run of all chosen mutants: one server, and a copy of the tree for each that runs at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.mutants.mutant import Mutant
from tests.mutants.tree import Fate, Result, Tree


class Suite:
    """Runs mutants, so many at once, on a server that the caller keeps."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        self._size = len(trees)
        self._trees = SimpleQueue[Tree]()
        for tree in trees:
            self._trees.put(tree)

    def fault_of_the_tests(self, mutants: Sequence[Mutant]) -> str:
        """Run all tests of *mutants* on the unchanged tree; return what failed, or nothing."""
        tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests.split()))
        with self._tree() as tree:
            fate, _, said = tree.test(tests, "-p", "xdist", "-n", str(self._size), timeout=None)
        return "" if fate is Fate.SURVIVED else said

    def run(
        self, mutants: Sequence[Mutant], ended: Callable[[Result], None] = lambda _result: None
    ) -> list[Result]:
        """Run *mutants* and return their results in the same order.

        ended -- called with each result when it has come
        """

        def run_one(mutant: Mutant) -> Result:
            with self._tree() as tree:
                result = tree.run(mutant)
            ended(result)
            return result

        with ThreadPoolExecutor(self._size) as threads:
            return list(threads.map(run_one, mutants))

    @contextmanager
    def _tree(self) -> Iterator[Tree]:
        tree = self._trees.get()
        try:
            yield tree
        finally:
            self._trees.put(tree)


@contextmanager
def suite(url: str, jobs: int) -> Iterator[Suite]:
    """Copy the tree *jobs* times, for so many mutants at once; the copies go with the context."""
    with TemporaryDirectory(prefix="sweeper-mutants-") as name:
        folders = [Path(name) / str(number) for number in range(jobs)]
        yield Suite([Tree(folder, url) for folder in folders])
