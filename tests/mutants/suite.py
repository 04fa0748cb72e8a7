"""The run of all chosen mutants: a copy of the tree and a server for each that runs at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.mutants.mutant import Mutant
from tests.mutants.tree import Fate, Result, Tree
from tests.support.server import embedded_server


class Suite:
    """Runs mutants, as many at once as there are trees."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        self._size = len(trees)
        self._trees = SimpleQueue[Tree]()
        for tree in trees:
            self._trees.put(tree)

    def fault_of_the_tests(self, mutants: Sequence[Mutant]) -> str:
        """Run all tests of *mutants* on the unchanged tree; return what failed, or nothing."""
        tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests.split()))
        parts = [tests[number :: self._size] for number in range(self._size)]

        def run_part(part: list[str]) -> str:
            with self._tree() as tree:
                fate, _, said = tree.test(part, timeout=None)
            return "" if fate is Fate.SURVIVED else said

        with ThreadPoolExecutor(self._size) as threads:
            return "\n".join(filter(None, threads.map(run_part, filter(None, parts))))

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
def suite(jobs: int) -> Iterator[Suite]:
    """Copy the tree *jobs* times, for so many mutants at once; all goes with the context.

    Each copy has a server of its own, because tests also change logins and the server's settings.
    """
    with TemporaryDirectory(prefix="sweeper-mutants-") as name, ExitStack() as servers:
        yield Suite(
            [
                Tree(Path(name) / str(number), servers.enter_context(embedded_server()))
                for number in range(jobs)
            ]
        )
