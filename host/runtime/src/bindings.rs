//! What wasmtime generates from the contract in `wit/`: the types of `foreshore:tool`, the
//! traits of the host interfaces that this version links, and the typed exports.
//!
//! The bindings of `wasi:*` are those of the wasmtime-wasi crates, except for functions that
//! move bytes at next to no fuel: those are asynchronous here, so that they can give the
//! thread to others. Host functions that never wait and move little are synchronous: they
//! cost less.

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package foreshore:host@0.1.0;

        world tool-component {
            import foreshore:progress/progress@0.1.0;
            import foreshore:log/log@0.1.0;
            import foreshore:memory/memory@0.1.0;
            import wasi:logging/logging@0.1.0-draft;
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            export foreshore:tool/tool@0.1.0;
        }
    ",
    world: "foreshore:host/tool-component",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "wasi:keyvalue/store.bucket": crate::capability::keyvalue::Bucket,
    },
});

pub(crate) use exports::foreshore::tool::tool;
pub(crate) use foreshore::types::types;

pub(crate) mod asynchronous {
    //! Functions that move bytes, as `wasi:io` and `wasi:random` 0.2.12 have them.

    wasmtime::component::bindgen!({
        inline: "
            package foreshore:bytes@0.1.0;

            world bytes {
                import wasi:io/streams@0.2.12;
                import wasi:random/random@0.2.12;
                import wasi:random/insecure@0.2.12;
            }

            package wasi:io@0.2.12 {
                interface error {
                    resource error {
                        to-debug-string: func() -> string;
                    }
                }

                interface poll {
                    resource pollable {
                        ready: func() -> bool;
                        block: func();
                    }
                    poll: func(in: list<borrow<pollable>>) -> list<u32>;
                }

                interface streams {
                    use error.{error};
                    use poll.{pollable};

                    variant stream-error {
                        last-operation-failed(error),
                        closed,
                    }

                    resource input-stream {
                        read: func(len: u64) -> result<list<u8>, stream-error>;
                        blocking-read: func(len: u64) -> result<list<u8>, stream-error>;
                        skip: func(len: u64) -> result<u64, stream-error>;
                        blocking-skip: func(len: u64) -> result<u64, stream-error>;
                        subscribe: func() -> pollable;
                    }

                    resource output-stream {
                        check-write: func() -> result<u64, stream-error>;
                        write: func(contents: list<u8>) -> result<_, stream-error>;
                        blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
                        flush: func() -> result<_, stream-error>;
                        blocking-flush: func() -> result<_, stream-error>;
                        subscribe: func() -> pollable;
                        write-zeroes: func(len: u64) -> result<_, stream-error>;
                        blocking-write-zeroes-and-flush: func(len: u64) -> result<_, stream-error>;
                        splice: func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
                        blocking-splice: func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
                    }
                }
            }

            package wasi:random@0.2.12 {
                interface random {
                    get-random-bytes: func(len: u64) -> list<u8>;
                    get-random-u64: func() -> u64;
                }

                interface insecure {
                    get-insecure-random-bytes: func(len: u64) -> list<u8>;
                    get-insecure-random-u64: func() -> u64;
                }
            }
        ",
        world: "foreshore:bytes/bytes",
        imports: { default: async | trappable },
        with: {
            "wasi:io/error": wasmtime_wasi_io::bindings::wasi::io::error,
            "wasi:io/poll": wasmtime_wasi_io::bindings::wasi::io::poll,
            "wasi:io/streams.input-stream": wasmtime_wasi_io::streams::DynInputStream,
            "wasi:io/streams.output-stream": wasmtime_wasi_io::streams::DynOutputStream,
        },
        trappable_error_type: {
            "wasi:io/streams.stream-error" => wasmtime_wasi_io::streams::StreamError,
        },
    });

    pub(crate) use wasi::io::streams;
    pub(crate) use wasi::random::{insecure, random};
}

pub(crate) mod agents {
    //! The types of `foreshore:agent`, the traits of the interfaces that only an agent has, and
    //! its typed exports. What agents share with tools (log, progress, memory, logging) is
    //! linked by the traits above.

    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package foreshore:agent-host@0.1.0;

            world agent-component {
                import foreshore:inference/inference@0.1.0;
                import foreshore:tools/tools@0.1.0;
                import foreshore:agents/agents@0.1.0;
                import foreshore:variables/variables@0.1.0;
                import foreshore:conversation/conversation@0.1.0;
                import foreshore:reply/reply@0.1.0;
                import foreshore:approval/approval@0.1.0;
                import foreshore:events/events@0.1.0;
                import foreshore:budget/budget@0.1.0;
                import foreshore:elicit/elicit@0.1.0;
                import foreshore:secrets/secrets@0.1.0;
                export foreshore:agent/agent@0.1.0;
            }
        ",
        world: "foreshore:agent-host/agent-component",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "foreshore:types/types": crate::bindings::foreshore::types::types,
        },
    });

    pub(crate) use exports::foreshore::agent::agent;
    pub(crate) use foreshore::agents::agents;
    pub(crate) use foreshore::approval::approval;
    pub(crate) use foreshore::budget::budget;
    pub(crate) use foreshore::conversation::conversation;
    pub(crate) use foreshore::elicit::elicit;
    pub(crate) use foreshore::events::events;
    pub(crate) use foreshore::inference::inference;
    pub(crate) use foreshore::reply::reply;
    pub(crate) use foreshore::secrets::secrets;
    pub(crate) use foreshore::tools::tools;
    pub(crate) use foreshore::variables::variables;
}
