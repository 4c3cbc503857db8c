# The addon, by node-gyp. The sources and flags of CMakeLists.txt; test/native/build.test.ts holds the two together.
# Not in the npm package: with a binding.gyp there, package managers would compile at install.
{
  'targets': [
    {
      'target_name': 'upstreamproxy',
      'sources': [
        'native/addon.cc',
        'native/chunk_decoder.cc',
        'native/errno_name.cc',
        'native/frame_decoder.cc',
        'native/frame_encoder.cc',
        'native/framing_failure.cc',
        'native/loopback_listener.cc',
        'native/process_control.cc',
        'native/runtime.cc',
        'native/socket_watcher.cc',
        'native/stream_socket.cc',
        'native/utf8.cc',
        'native/write_queue.cc',
      ],
      'include_dirs': [
        '<!(node -p "require(\'node-addon-api\').include_dir")',
      ],
      'defines': [
        'NAPI_VERSION=8',
        'NAPI_DISABLE_CPP_EXCEPTIONS',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      # node-gyp's own: with 64-bit offsets asked for, glibc's headers call fcntl64, which is not in every C library.
      'defines!': [
        '_FILE_OFFSET_BITS=64',
        '_LARGEFILE_SOURCE',
      ],
      'cflags_cc': [
        '-std=c++17',
        '-O2',
        '-g0',
        '-fPIC',
        '-fvisibility=hidden',
        '-fno-exceptions',
        '-fno-rtti',
        '-fno-threadsafe-statics',
        '-fno-stack-protector',
        '-fno-asynchronous-unwind-tables',
        '-ffunction-sections',
        '-fdata-sections',
        '-Wall',
        '-Wextra',
      ],
      'conditions': [
        ['target_arch=="arm64"', { 'cflags_cc': ['-mno-outline-atomics'] }],
      ],
      'ldflags': [
        '-nodefaultlibs',
        '-nostartfiles',
        '-Wl,-z,now',
        '-Wl,-z,relro',
        '-Wl,-z,noexecstack',
        '-Wl,--gc-sections',
        '-Wl,--build-id=none',
        '-s',
        '-Wl,--version-script=<(module_root_dir)/native/version-script.map',
      ],
    },
  ],
}
