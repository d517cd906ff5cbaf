"""Installing and uninstalling: what is written and removed, and in which order."""

from __future__ import annotations

import os
from collections.abc import Mapping

from whereabouts.agent.framing import DEFAULT_SOCKET
from whereabouts.install import host
from whereabouts.install.credentials import Credentials, read_credentials
from whereabouts.install.directory import Directory
from whereabouts.install.errors import InstallError
from whereabouts.install.kubeconfig import api_server, kubeconfig_text
from whereabouts.install.operator_settings import NOTHING
from whereabouts.install.settings import Settings
from whereabouts.log import Log


def install(settings: Settings, log: Log) -> None:
    """Put the plugin and its files on the host; what is already right is left untouched.

    The plugin comes last, so that none is started before what it needs is there. InstallError if a step
    fails: those before it are done, and the next run goes on.
    """
    plugin = host.native_plugin()
    credentials = read_credentials(settings.service_account, settings.ca_file)
    with (
        host.host_directory(settings.bin_dir) as programs,
        host.host_directory(settings.conf_dir) as confs,
    ):
        confs.make(host.FOLDER)
        with confs.inner(host.FOLDER) as folder:
            _write_files(folder, settings, credentials, log)
        for name in (host.SOCKET_PATH, host.PLUGIN):
            programs.sweep(name)
        _write_socket_path(programs, settings, log)
        _put(programs, host.PLUGIN, plugin, 0o755, log)


def refresh(settings: Settings, credentials: Credentials, log: Log) -> None:
    """Write the kubeconfig anew; if it is the first one, whereabouts.conf now names it."""
    with host.host_directory(settings.conf_dir) as confs:
        confs.make(host.FOLDER)
        with confs.inner(host.FOLDER) as folder:
            first = not folder.has(host.KUBECONFIG)
            _write_kubeconfig(folder, settings, credentials, log)
            if first:
                _write_conf(folder, settings, log)


def _write_files(folder: Directory, settings: Settings, credentials: Credentials | None, log: Log) -> None:
    for name in (host.KUBECONFIG, host.CONF, host.NODENAME):
        folder.sweep(name)
    if settings.mode & 0o077:
        log.error(f"KUBECONFIG_MODE is {settings.mode:03o}: others on this host can use the token")
    if credentials is None:
        _warn_of_no_token(folder, settings, log)
    else:
        _write_kubeconfig(folder, settings, credentials, log)
    _write_conf(folder, settings, log)
    _write_node_name(folder, settings, log)


def _warn_of_no_token(folder: Directory, settings: Settings, log: Log) -> None:
    missing = f"there is no token in {settings.service_account}"
    if folder.has(host.KUBECONFIG):
        log.error(f"{missing}: the {host.KUBECONFIG} of an earlier installation is kept, with its token")
        return
    if settings.host and not settings.without_kubernetes:
        # In a cluster each node would fall back to an embedded store of its own, and give what others give.
        raise InstallError(
            f"{missing}, but KUBERNETES_SERVICE_HOST says that this is a pod: let the pod mount its service "
            "account's token, or say --without-kubernetes if the datastore is another one"
        )
    log.error(
        f"{missing}: no kubeconfig is written, and {host.CONF} names no datastore. A network configuration "
        "that names none either uses the embedded store, whose addresses are unique on this node only"
    )


def _write_kubeconfig(folder: Directory, settings: Settings, credentials: Credentials, log: Log) -> None:
    server = api_server(settings.protocol, settings.host, settings.port)
    text = kubeconfig_text(server, settings.namespace, credentials)
    _put(folder, host.KUBECONFIG, text.encode(), settings.mode, log)


def _write_conf(folder: Directory, settings: Settings, log: Log) -> None:
    kubernetes = folder.has(host.KUBECONFIG)
    text = host.conf_text(
        host.on_host(folder.path), settings.cron, kubernetes=kubernetes, operators=settings.operators
    )
    _put(folder, host.CONF, text.encode(), settings.mode, log)


def _write_node_name(folder: Directory, settings: Settings, log: Log) -> None:
    if settings.node_name:
        _put(folder, host.NODENAME, settings.node_name.encode(), settings.mode, log)
    else:
        log.error(
            f"NODENAME is not set: {folder.path}/{host.NODENAME} is left as it is. Where there is none the "
            f"host name is used, and node slices are not found if the Node object is named otherwise"
        )


def _write_socket_path(programs: Directory, settings: Settings, log: Log) -> None:
    if settings.socket != DEFAULT_SOCKET:
        _put(programs, host.SOCKET_PATH, os.fsencode(f"{settings.socket}\n"), 0o644, log)
    else:
        _remove(programs, host.SOCKET_PATH, log)


def _put(directory: Directory, name: str, content: bytes, mode: int, log: Log) -> None:
    if directory.replace(name, content, mode):
        log.verbose(f"wrote {directory.path}/{name}")
    else:
        log.debug(f"{directory.path}/{name} is up to date")


def uninstall(bin_dir: str, conf_dir: str, log: Log, operators: Mapping[str, object] = NOTHING) -> None:
    """Remove what :func:`install` put on the host; what others wrote stays, and so does every datastore.

    ``operators`` are the settings that were installed.
    """
    if os.path.isdir(bin_dir):
        with Directory.existing(bin_dir) as programs:
            _remove_programs(programs, log)
    else:
        log.error(f"there is no directory {bin_dir}: nothing to remove there")
    folder = os.path.join(conf_dir, host.FOLDER)
    if os.path.lexists(folder):
        with Directory.existing(conf_dir) as confs:
            _remove_folder(confs, operators, log)
    else:
        log.error(f"there is no directory {folder}: nothing to remove there")


def _remove_programs(programs: Directory, log: Log) -> None:
    for name in (host.SOCKET_PATH, host.PLUGIN):
        programs.sweep(name)
    plugin = host.read_plugin(programs)
    if plugin is not None and host.is_our_plugin(plugin):
        _remove(programs, host.PLUGIN, log)
    elif programs.has(host.PLUGIN):
        log.error(f"left {programs.path}/{host.PLUGIN}: it is not the native plugin of this package")
        return
    _remove(programs, host.SOCKET_PATH, log)


def _remove_folder(confs: Directory, operators: Mapping[str, object], log: Log) -> None:
    with confs.inner(host.FOLDER) as folder:
        _remove_files(folder, operators, log)
    if confs.remove_inner(host.FOLDER):
        log.verbose(f"removed {confs.path}/{host.FOLDER}")
    else:
        log.verbose(f"left {confs.path}/{host.FOLDER}: it is not empty")


def _remove_files(folder: Directory, operators: Mapping[str, object], log: Log) -> None:
    for name in (host.KUBECONFIG, host.CONF, host.NODENAME):
        folder.sweep(name)
    kubeconfig, conf = (host.read_text(folder, name) for name in (host.KUBECONFIG, host.CONF))
    if kubeconfig is not None and host.is_our_kubeconfig(kubeconfig):
        _remove(folder, host.KUBECONFIG, log)
    elif folder.has(host.KUBECONFIG):
        log.error(f"left {folder.path}/{host.KUBECONFIG}: another installer wrote it")
    if conf is not None and host.is_our_conf(conf, operators):
        _remove(folder, host.CONF, log)
    elif folder.has(host.CONF):
        # A node name has nothing that tells who wrote it: it goes with the configuration.
        log.error(f"left {folder.path}/{host.CONF} and {host.NODENAME}: somebody else wrote or changed them")
        return
    _remove(folder, host.NODENAME, log)


def _remove(directory: Directory, name: str, log: Log) -> None:
    if directory.remove(name):
        log.verbose(f"removed {directory.path}/{name}")
