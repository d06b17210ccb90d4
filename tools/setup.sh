#!/bin/sh
# Make .venv and install EdgeYOLO with the extras that the caller names, on any Linux machine, and say what
# was done. Used by the Makefile: tools/setup.sh run|test|check
#
# What a bare machine lacks, and what happens then:
#   python3 >= 3.10    stop, with the command that brings it
#   ensurepip          its own package on Debian and Ubuntu: apt-get installs it where root or sudo without a
#                      password is at hand; else pip brings virtualenv, which makes .venv
#   libGL.so.1         opencv-python links it: apt-get installs it, else opencv-python-headless is taken
#   OpenCV of JetPack  it is there and has GStreamer, which pip's has not: .venv sees it, none is installed
#   PyGObject          pip builds it where its headers are; else cameras are read by OpenCV (docs/install.md)
#
# PYTHON=/path/to/python3 chooses the interpreter; EDGEYOLO_NO_APT=1 keeps this script away from apt-get.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { printf 'setup: %s\n' "$1" >&2; [ $# -lt 2 ] || printf '  try: %s\n' "$2" >&2; exit 1; }

# --- what is here -----------------------------------------------------------------------------------------

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    stop "no python3 of version 3.10 or later on the PATH" \
        "sudo apt-get install python3 python3-venv   (or set PYTHON=/path/to/python3)"
}

can_apt() {
    [ -z "${EDGEYOLO_NO_APT:-}" ] && command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

apt_install() {
    as_root=
    [ "$(id -u)" = 0 ] || as_root='sudo -n'
    say "apt-get install $*"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

loads() { "$python" -c 'import ctypes, sys; [ctypes.CDLL(n) for n in sys.argv[1:]]' "$@" 2>/dev/null; }

# --- .venv ------------------------------------------------------------------------------------------------

make_venv() {
    if [ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1; then
        return
    fi
    rm -rf .venv
    site=
    [ "$opencv" = system ] && site=--system-site-packages
    say "making .venv with $("$python" --version) $site"
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv $site .venv
        return
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "this python3 has no ensurepip"
    if can_apt && { apt_install "python$version-venv" || apt_install python3-venv; }; then
        "$python" -m venv $site .venv
    elif "$python" -m pip --version >/dev/null 2>&1; then
        say "no right to use apt-get; pip brings virtualenv instead"
        "$python" -m pip install --quiet --target .venv-bootstrap virtualenv
        PYTHONPATH=.venv-bootstrap "$python" -m virtualenv --quiet $site .venv
        rm -rf .venv-bootstrap
    else
        stop "cannot make .venv: python3 has neither ensurepip nor pip" "sudo apt-get install python3-venv"
    fi
}

# --- which OpenCV -----------------------------------------------------------------------------------------

choose_opencv() {
    if [ -e /etc/nv_tegra_release ] && (cd / && "$python" -c 'import cv2' 2>/dev/null); then
        opencv=system
    elif loads libGL.so.1 libgthread-2.0.so.0; then
        opencv=desktop
    elif can_apt && apt_install libgl1 libglib2.0-0 && loads libGL.so.1 libgthread-2.0.so.0; then
        opencv=desktop
    else
        say "libGL.so.1 or libglib-2.0 is missing and apt-get is not at hand:" \
            "opencv-python-headless is taken, so --show has no window"
        opencv=headless
    fi
}

# What pip is asked for beside the other extras. A system OpenCV that was compiled against NumPy 1 does not
# import under NumPy 2, which pip would bring.
opencv_requirement() {
    case $opencv in
        system)
            say "OpenCV of the system is used: it has GStreamer for the cameras"
            extras=onnx
            if (cd / && "$python" -c 'import numpy, sys; sys.exit(int(numpy.__version__.split(".")[0]) > 1)')
            then numpy='numpy<2'; fi
            ;;
        desktop) extras=host ;;
        headless) extras=headless ;;
    esac
}

# --- GStreamer --------------------------------------------------------------------------------------------

# Cameras need PyGObject. A .venv that sees the system's python3-gi has it; else pip builds it, which needs the
# headers. Neither is no reason to stop: everything but live cameras works.
add_gstreamer() {
    if .venv/bin/python -c 'import gi' 2>/dev/null; then
        return
    elif pkg-config --exists gobject-introspection-1.0 cairo 2>/dev/null &&
        .venv/bin/python -m pip install --disable-pip-version-check --editable '.[gstreamer]' >>.venv/setup.log 2>&1; then
        say "PyGObject built: cameras are read with GStreamer"
    else
        say "no PyGObject, so no GStreamer: cameras are read with OpenCV (docs/cameras.md)"
    fi
}

# --- go ---------------------------------------------------------------------------------------------------

case ${1:-} in
    run) more=eval,mqtt,web holds=run ;;
    test) more=eval,mqtt,web,test holds='run test' ;;
    check) more=eval,mqtt,web,test,dev holds='run test check' ;;
    *) stop "usage: tools/setup.sh run|test|check" ;;
esac
python=$(find_python) || exit 1
choose_opencv
make_venv
numpy=numpy
opencv_requirement
extras=$extras,$more
say "installing edgeyolo[$extras] into .venv; the first time this downloads about 200 MB (log: .venv/setup.log)"
.venv/bin/python -m pip install --disable-pip-version-check --editable ".[$extras]" "$numpy" \
    >.venv/setup.log 2>&1 || { cat .venv/setup.log >&2; stop "pip failed, see above"; }
[ "$1" = run ] || add_gstreamer
.venv/bin/python -c 'import cv2, av, numpy, onnx, onnxruntime' ||
    stop "the packages are installed, and one of them does not import, see above" "rm -rf .venv && make setup"
for stamp in $holds; do touch ".venv/.setup-$stamp"; done  # what make need not ask for again
say "ready: .venv/bin/edgeyolo --help"
