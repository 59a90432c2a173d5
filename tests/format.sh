#!/bin/sh
# Every C++ file is as .clang-format says: format.sh TREE
cd "$1" || exit 1
find src tests bench \( -name '*.cpp' -o -name '*.h' \) -type f -print0 | xargs -0 clang-format --dry-run -Werror
