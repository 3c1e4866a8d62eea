"""The command line: `python -m tests.cluster_tools up|down|status|kubeconfig|load-image|images`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster_tools.cluster import connect, open_provider
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.images import ensure_images
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.provider import Provider, ProviderName, chosen_provider


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    progress = Progress()
    try:
        name = chosen_provider(options.provider)
        _run(options, open_provider(name, progress, confirmed=bool(options.yes)), progress)
    except ClusterError as error:
        sys.stderr.write(f"cluster: {error}\n")
        return 1
    return 0


def _run(options: argparse.Namespace, provider: Provider, progress: Progress) -> None:
    match options.command:
        case "up":
            provider.up()
        case "down":
            provider.down(purge=bool(options.purge))
        case "status":
            sys.stdout.write("\n".join(provider.status()) + "\n")
            if not provider.healthy():
                raise ClusterError("the cluster is not up: python -m tests.cluster_tools up")
        case "kubeconfig":
            sys.stdout.write(f"{provider.kubeconfig}\n")
        case "env":
            cluster = connect(provider)
            sys.stdout.write(f"export KUBECONFIG={cluster.kubeconfig}\n")
            sys.stdout.write(f'export PATH="{cluster.kubectl_path.parent}:$PATH"\n')
        case "load-image":
            provider.load_image(Path(options.archive))
        case _:
            provider.up()
            for image in ensure_images(provider, progress, tag=str(options.tag)):
                sys.stdout.write(f"{image}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster_tools",
        description="A real Kubernetes for tests and the demo.",
    )
    parser.add_argument(
        "--provider",
        choices=[str(name) for name in ProviderName],
        help="where the cluster comes from (default: MOORING_CLUSTER_PROVIDER, else embedded)",
    )
    parser.add_argument("--yes", action="store_true", help="agree to use an existing cluster")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring the cluster up; at once when it is")
    down = commands.add_parser("down", help="take the cluster down; nothing but images stays")
    down.add_argument("--purge", action="store_true", help="remove the imported images too")
    commands.add_parser("status", help="say what runs; exit status 1 when it is not healthy")
    commands.add_parser("kubeconfig", help="print the kubeconfig's path")
    commands.add_parser("env", help='print shell lines: eval "$(... env)" sets KUBECONFIG and PATH')
    load = commands.add_parser("load-image", help="put an OCI or Docker archive on the node")
    load.add_argument("archive", help="the archive's path")
    images = commands.add_parser("images", help="build and load the images that changed")
    images.add_argument("--tag", default="0.1.0", help="their tag (default: 0.1.0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
