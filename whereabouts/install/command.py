"""``whereabouts install`` and ``whereabouts uninstall``: their options, and what they run."""

from __future__ import annotations

import argparse
import os
import signal

from whereabouts.agent.framing import DEFAULT_SOCKET
from whereabouts.install.follower import CredentialFollower
from whereabouts.install.installer import install, uninstall
from whereabouts.install.operator_settings import read_operator_settings
from whereabouts.install.settings import SERVICE_ACCOUNT, read_directories, read_settings
from whereabouts.log import LEVELS, Log, to_stderr

_ENDING = (signal.SIGTERM, signal.SIGINT)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands and their options."""
    _register_install(commands)
    _register_uninstall(commands)


def add_install_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that :func:`whereabouts.install.settings.read_settings` knows, except for --socket."""
    _add_directories(parser)
    _add_settings(parser)
    add = parser.add_argument
    add("--cron", metavar="EXPR", help="when to reconcile [WHEREABOUTS_RECONCILER_CRON, 30 4 * * *]")
    add("--service-account", metavar="DIR", help=f"where token and ca.crt are mounted [{SERVICE_ACCOUNT}]")
    add(
        "--kube-ca-file",
        dest="ca_file",
        metavar="FILE",
        help="the API server's CA [KUBE_CA_FILE, ca.crt in DIR]",
    )
    add(
        "--skip-tls-verify",
        action="store_const",
        const="true",
        help="do not check the API server's certificate [SKIP_TLS_VERIFY, false]",
    )
    add(
        "--kubeconfig-mode",
        dest="mode",
        metavar="MODE",
        help="of what is in whereabouts.d [KUBECONFIG_MODE, 600]",
    )
    add(
        "--without-kubernetes",
        action="store_const",
        const="true",
        help="the datastore is another one: a pod without a token is no mistake",
    )
    add("--api-protocol", dest="protocol", help="of the API server [KUBERNETES_SERVICE_PROTOCOL, https]")
    add("--api-host", dest="host", metavar="HOST", help="of the API server [KUBERNETES_SERVICE_HOST]")
    add("--api-port", dest="port", metavar="PORT", help="of the API server [KUBERNETES_SERVICE_PORT]")
    add("--namespace", help="of the custom resources [WHEREABOUTS_NAMESPACE, kube-system]")
    add("--node-name", metavar="NAME", help="of this node's Node object [NODENAME]")


def _register_install(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "install",
        help="put the native plugin and its files on a host",
        description="Puts the native plugin and its files on a host. In brackets: the environment variable "
        "that is used without the option, and the default.",
    )
    add_install_options(parser)
    parser.add_argument("--socket", metavar="PATH", help=f"where the node agent listens [{DEFAULT_SOCKET}]")
    parser.add_argument(
        "--follow", action="store_true", help="stay, and write the kubeconfig whenever the token changes"
    )
    _add_log_level(parser)
    parser.set_defaults(run=_install)


def _register_uninstall(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "uninstall",
        help="remove from a host what install put there",
        description="Removes what install put there. What others wrote stays, and so does every datastore.",
    )
    _add_directories(parser)
    _add_settings(parser)
    _add_log_level(parser)
    parser.set_defaults(run=_uninstall)


def _add_directories(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--cni-bin-dir", dest="bin_dir", metavar="DIR", help="for the plugin [CNI_BIN_DIR, /host/opt/cni/bin]"
    )
    add(
        "--cni-conf-dir",
        dest="conf_dir",
        metavar="DIR",
        help="in which whereabouts.d is [CNI_CONF_DIR, /host/etc/cni/net.d]",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--settings",
        dest="settings_file",
        metavar="FILE",
        help="a JSON object with more keys of whereabouts.conf; none, if there is no such file",
    )


def _add_log_level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-level", choices=LEVELS, default="verbose", help="how much to say (default: %(default)s)"
    )


def _install(chosen: argparse.Namespace) -> int:
    settings = read_settings(vars(chosen), os.environ)
    log = Log(chosen.log_level, to_stderr)
    if chosen.follow:
        # Blocked rather than handled: whichever moment they come at, they wait to be asked for.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    install(settings, log)
    log.verbose("installed")
    if chosen.follow:
        follower = CredentialFollower(settings, log)
        follower.start()
        log.verbose(f"following the service account in {settings.service_account}")
        signal.sigwait(_ENDING)
        follower.stop()
    return 0


def _uninstall(chosen: argparse.Namespace) -> int:
    bin_dir, conf_dir = read_directories(vars(chosen), os.environ)
    operators = read_operator_settings(chosen.settings_file)
    uninstall(bin_dir, conf_dir, Log(chosen.log_level, to_stderr), operators)
    return 0
