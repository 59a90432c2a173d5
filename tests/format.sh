#!/bin/sh
# Every C++ file is as .clang-format says: format.sh CLANG-FORMAT TREE
cd "$2" || exit 1
find src tests \( -name '*.cpp' -o -name '*.h' \) -type f -print0 | xargs -0 "$1" --dry-run -Werror
