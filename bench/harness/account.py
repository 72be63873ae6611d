"""Who runs what does not run as root: PostgreSQL and PgBouncer."""

import os
import pwd
import shutil


def unprivileged():
    """The account for PostgreSQL and PgBouncer: one's own, or `postgres` when one is root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("root, and neither an account `postgres` nor `nobody`")


def options(account):
    """Popen's options to run as that account."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def give(path, account):
    if account is not None:
        shutil.chown(path, account.pw_uid, account.pw_gid)
