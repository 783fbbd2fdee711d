#!/bin/sh
# Print the path of a Python that can make this project's environment: CPython from
# 3.12 to 3.14 with venv and ensurepip.  $PYTHON decides where it is set; else the first
# that fits on PATH, then the newest of pyenv's, then what uv has or can install.

# Print "minor.micro path" where the command $1 runs and fits.  Running it is the only
# test that counts: pyenv's shims exist and fail, Debian's python3 may lack ensurepip.
fitting() {
    "$1" -c '
import ensurepip, sys, sysconfig, venv
major, minor, micro = sys.version_info[:3]
assert sys.implementation.name == "cpython" and (3, 12) <= (major, minor) < (3, 15)
assert not sysconfig.get_config_var("Py_GIL_DISABLED")  # few wheels are free-threaded
print(f"{minor}.{micro} {sys.executable}")
' 2>/dev/null </dev/null
}

on_path() (
    IFS=:
    for name in python3.14 python3.13 python3.12 python3 python; do
        for folder in $PATH; do
            [ -x "$folder/$name" ] && fitting "$folder/$name" && exit
        done
    done
    exit 1
)

of_pyenv() {
    for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python; do
        [ -x "$python" ] && fitting "$python"
    done | sort -t . -k 1,1n -k 2,2n | tail -n 1 | grep .
}

of_uv() {
    for uv in "$(command -v uv)" "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv"; do
        [ -x "$uv" ] || continue
        python=$("$uv" python find --system '>=3.12,<3.15' 2>/dev/null)
        if [ -n "$python" ] && fitting "$python"; then return; fi
        echo "No Python from 3.12 to 3.14 is installed: uv installs 3.13." >&2
        "$uv" python install 3.13 >&2 &&
            fitting "$("$uv" python find --system 3.13 2>/dev/null)"
        return
    done
    return 1
}

if [ -n "${PYTHON:-}" ]; then
    found=$(fitting "$PYTHON") || {
        echo "PYTHON=$PYTHON does not run as CPython 3.12 to 3.14 with venv and" \
            "ensurepip: name another, or leave PYTHON out to have one found." >&2
        exit 1
    }
elif ! found=$(on_path || of_pyenv || of_uv); then
    cat >&2 <<'MESSAGE'
No Python from 3.12 to 3.14 (with venv and ensurepip) was found on PATH, among pyenv's
versions or through uv.  Install one in any of these ways, then repeat the command:

    Debian, Ubuntu    sudo apt install python3.13-venv    (or python3.12-venv)
    macOS             brew install python@3.13
    pyenv             pyenv install 3.13
    uv                uv python install 3.13

Or name one that stands elsewhere:  make PYTHON=/path/to/python3.13
MESSAGE
    exit 1
fi
echo "${found#* }"
