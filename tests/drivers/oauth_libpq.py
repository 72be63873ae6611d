"""libpq 18 itself, logging in by OAUTHBEARER: discovery first, then the token that its hook gives.

No Python driver has the hook, so libpq is spoken to directly: the one psycopg brings along.
"""

import ctypes
import glob
import os
import sys

import psycopg

BEARER_TOKEN = 1  # PQAUTHDATA_OAUTH_BEARER_TOKEN

home = os.path.dirname(os.path.dirname(psycopg.__file__))
(path,) = glob.glob(os.path.join(home, "psycopg_binary.libs", "libpq-*.so*"))
libpq = ctypes.CDLL(path)
assert libpq.PQlibVersion() >= 180000, libpq.PQlibVersion()


class BearerRequest(ctypes.Structure):
    """PGoauthBearerRequest."""

    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("run", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    ]


asked = []
token = os.environ["PGUSHER_TOKEN"].encode()


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def hook(kind, conn, data):
    if kind != BEARER_TOKEN:
        return 0
    request = ctypes.cast(data, ctypes.POINTER(BearerRequest)).contents
    asked.append((request.openid_configuration.decode(), (request.scope or b"").decode()))
    request.token = token
    return 1


libpq.PQsetAuthDataHook(hook)
libpq.PQconnectdb.restype = ctypes.c_void_p
libpq.PQexec.restype = ctypes.c_void_p
libpq.PQgetvalue.restype = libpq.PQerrorMessage.restype = ctypes.c_char_p
for name in ("PQstatus", "PQerrorMessage", "PQfinish"):
    getattr(libpq, name).argtypes = [ctypes.c_void_p]
libpq.PQexec.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
libpq.PQgetvalue.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]

conn = libpq.PQconnectdb(sys.argv[1].encode())
if libpq.PQstatus(conn) != 0:
    sys.exit(libpq.PQerrorMessage(conn).decode())
result = libpq.PQexec(conn, b"select current_database()")
print(libpq.PQgetvalue(result, 0, 0).decode(), *asked[0])
libpq.PQfinish(conn)
