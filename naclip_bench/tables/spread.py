"""A pass spread over processes: the GPUs of a machine, or the workers of a Ray cluster.

Every process computes whole batches, the same ones as a process alone would, with the same text vectors: what comes out
is the same whatever the spread. The process that asks keeps the claims and seals the results; the others compute.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..configuration import register
from ..errors import BenchError
from .plan import Leaf, Options, Pass
from .run import Compute, Finished, Journals, OpenPass, Share, in_this_process
from .store import Store
from .worker import live

#: Seconds between two looks at what the workers of a cluster have sent.
LOOK_EVERY = 0.2

AGAIN = 'run the same command again: finished images are kept'


def compute_of(device_count: int | None, ray_address: str | None) -> Compute:
    """How passes are computed: in this process, spread over its machine, or over a cluster.

    Args:
        device_count: ``--device-count``; with Ray, how many workers: None for one a GPU, or one a machine without GPUs.
        ray_address: ``--ray``, an address as ``ray.init`` takes it.

    Raises:
        BenchError: fewer than one, more than there are GPUs, or no Ray.
    """
    if device_count is not None and device_count < 1:
        raise BenchError(f'--device-count is {device_count}; it must be at least 1')
    if ray_address is not None:
        return RayCluster(ray_address, device_count)
    return in_this_process if device_count in (None, 1) else Processes(device_count)


@dataclass(frozen=True)
class Job:
    """All that a worker needs to compute its share of a pass; it can be pickled.

    Attributes:
        leaves, options: of the pass.
        keys: of the leaves, as the asking process has them.
        finished: see :meth:`OpenPass.compute`.
        text: of each leaf, its text vectors, and the class and the multiplicity of each query.
        share: of this worker.
        folder: the working folder, to which relative paths belong.
    """

    leaves: list[Leaf]
    options: Options
    keys: list[str]
    finished: Finished
    text: list[tuple[Tensor, ...]]
    share: Share
    folder: Path

    def compute(self, journals: Journals) -> None:
        """Compute this share into ``journals``.

        Raises:
            BenchError: see :class:`OpenPass`; or the results would be others than the asking process expects.
        """
        register()
        open_pass = OpenPass(Pass(self.leaves), self.options)
        if open_pass.keys != self.keys:
            raise BenchError('a worker has other versions, weights, data or devices than this machine')
        for member, text in zip(open_pass.model.members.values(), self.text, strict=True):
            member.text = tuple(part.to(member.backbone.device) for part in text)
        open_pass.compute(journals, self.finished, self.share)


def jobs_of(open_pass: OpenPass, store: Store, wanted: set[str], count: int) -> list[Job]:
    """What ``count`` workers compute of a pass; fewer where there are fewer batches."""
    finished = open_pass.finished(store, wanted)
    count = min(count, open_pass.open_batches(finished))
    if not count:
        return []
    text = [tuple(part.cpu() for part in member.text) for member in open_pass.model.members.values()]
    job = Job(open_pass.leaves, open_pass.options, open_pass.keys, finished, text, Share(0, count), Path.cwd())
    return [replace(job, share=Share(index, count)) for index in range(count)]


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables for the processes that are started meanwhile, and for this one."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# ---- the processes of one machine


class Processes:
    """Processes on this machine, each with a GPU of its own, or with its part of the CPU's threads.

    Args:
        count: how many.

    Raises:
        BenchError: there are fewer GPUs.
    """

    def __init__(self, count: int) -> None:
        self.devices: Sequence[str] = [''] * count
        if torch.cuda.is_available():
            visible = os.environ.get('CUDA_VISIBLE_DEVICES')
            devices = visible.split(',') if visible else [str(index) for index in range(torch.cuda.device_count())]
            if count > len(devices):
                raise BenchError(f'--device-count is {count}, but this machine has {len(devices)} GPUs')
            self.devices = devices[:count]

    def __call__(self, open_pass: OpenPass, store: Store, wanted: set[str]) -> int:
        threads = max(1, torch.get_num_threads() // len(self.devices))
        # Not forked: a process that has used a GPU, or threads, cannot be copied.
        context = multiprocessing.get_context('spawn')
        workers: dict[Connection, multiprocessing.Process] = {}
        try:
            for job, device in zip(jobs_of(open_pass, store, wanted, len(self.devices)), self.devices, strict=False):
                said, say = context.Pipe(duplex=False)
                worker = context.Process(target=live, args=(pickle.dumps(job), store.folder.absolute(), threads, say))
                # CUDA reads this when a process begins; told later, it would not listen.
                with environment(**({'CUDA_VISIBLE_DEVICES': device} if device else {})):
                    worker.start()
                say.close()
                workers[said] = worker
            running = dict(workers)
            while running:
                for said in wait(list(running)):
                    _check(said, running.pop(said))
        finally:
            for worker in workers.values():
                worker.terminate()
            for worker in workers.values():
                worker.join()
        return len(workers)


def _check(said: Connection, worker: multiprocessing.Process) -> None:
    """See how a worker ended."""
    try:
        error = said.recv()
    except EOFError:
        worker.join()
        raise BenchError(f'a process of --device-count ended with code {worker.exitcode}; {AGAIN}') from None
    if error is not None:
        raise error


# ---- a Ray cluster


class RayCluster:
    """The workers of a Ray cluster. They share no disk with this process: it writes their images into its journals.

    Every machine needs the suite, the data and the weights at the same paths.

    Args:
        address: as ``ray.init`` takes it; without meaning where Ray runs already in this process.
        count: workers; None: one a GPU, or one a machine without GPUs.

    Raises:
        BenchError: Ray is not installed, the cluster cannot be reached, or has fewer GPUs or CPUs.
    """

    def __init__(self, address: str, count: int | None) -> None:
        try:
            import ray
        except ImportError:
            raise BenchError("--ray needs Ray: pip install 'naclip_bench[ray]'") from None
        if not ray.is_initialized():
            try:
                _see_that_somebody_listens(address)
                ray.init(address, log_to_driver=False, logging_level='ERROR')
            except (OSError, RuntimeError, ValueError) as error:
                reason = str(error).strip().splitlines()[0]
                raise BenchError(f'--ray {address}: cannot reach a cluster there ({reason})') from None
        kind = 'GPU' if torch.cuda.is_available() else 'CPU'
        there = int(ray.cluster_resources().get(kind, 0))
        machines = sum(node['Alive'] for node in ray.nodes())
        self.count = count or (there if kind == 'GPU' else machines)
        if not 1 <= self.count <= there:
            raise BenchError(
                f'--ray {address}: {self.count} workers were asked for, but the cluster has {there} {kind}s'
            )
        self.resources = {'num_gpus': 1} if kind == 'GPU' else {'num_cpus': there // self.count}

    def __call__(self, open_pass: OpenPass, store: Store, wanted: set[str]) -> int:
        import ray
        from ray.exceptions import RayError, RayTaskError
        from ray.util.queue import Queue

        jobs = jobs_of(open_pass, store, wanted, self.count)
        # The suite may be a checkout that is not installed.
        root = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get('PYTHONPATH')])])
        work = ray.remote(_work_for_ray).options(
            max_retries=0,
            scheduling_strategy='SPREAD',
            runtime_env={'env_vars': {'PYTHONPATH': paths}},
            **self.resources,
        )
        journals = {key: open_pass.journal(store, key) for key in wanted}
        sent = Queue(actor_options={'num_cpus': 0})
        running = [work.remote(job, sent) for job in jobs]
        try:
            while running:
                done, running = ray.wait(running, timeout=LOOK_EVERY)
                for key, images in sent.get_nowait_batch(sent.qsize()):
                    journals[key].append(images)
                ray.get(done)
        except RayTaskError as error:
            if isinstance(error.cause, BenchError):
                raise BenchError(str(error.cause)) from None
            raise
        except RayError as error:
            raise BenchError(f'a worker of --ray was lost ({str(error).strip().splitlines()[0]}); {AGAIN}') from None
        finally:
            for task in running:
                ray.cancel(task, force=True)
            sent.shutdown(force=True)
        return len(jobs)


def _see_that_somebody_listens(address: str) -> None:
    """Ray itself would try for minutes.

    Raises:
        OSError, ValueError: nobody does, or the address has no port.
    """
    host, _, port = address.rpartition('/')[2].rpartition(':')
    if host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _work_for_ray(job: Job, sent: object) -> None:
    try:
        os.chdir(job.folder)
    except OSError as error:
        raise BenchError(f'a worker of --ray has no folder {job.folder}: {error.strerror}') from None
    job.compute(Postbox(sent))


@dataclass(frozen=True)
class Postbox:
    """Journals that send what is written to the process that has the store.

    Attributes:
        queue: Ray's.
        key: of the leaf that is written; None in what :meth:`journal` is asked of.
    """

    queue: object
    key: str | None = None

    def journal(self, key: str, identity: dict, classes: int) -> Postbox:
        return replace(self, key=key)

    def append(self, images: dict[str, np.ndarray]) -> None:
        self.queue.put((self.key, images))
