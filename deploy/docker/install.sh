#!/bin/sh
# Puts the packages of a lock into a folder of their own, without what only their developers need. For the Dockerfiles.
#   install.sh LOCK FOLDER
set -eu
lock=$1
folder=$2
/tools/bin/python -m pip install --no-deps --require-hashes --no-build-isolation --no-compile \
  --target "$folder" --requirement "$lock"
cd "$folder"
# Commands of the packages would name the interpreter of the build; `python -m` does the same.
rm -rf bin
find . -type d \( -name tests -o -path ./onnx/backend/test \) -prune -exec rm -rf {} +
# The wheel of onnxruntime has its library twice, the second one for programs in C, and tools to convert models.
rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/transformers onnxruntime/quantization onnxruntime/tools
rm -rf numpy/f2py numpy/distutils
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' -o -name '*.a' \) -delete
# What a debugger of C needs is more than half of some extensions. Those without it are left as they are: `strip`
# breaks libraries that auditwheel has put together.
find . -type f -name '*.so*' | while read -r library; do
  if readelf --section-headers "$library" | grep --quiet '\.debug_info'; then strip --strip-debug "$library"; fi
done
