//! Components out of WebAssembly text: one tool each, called `run`, laid out by hand as the
//! canonical ABI has it.

use bytes::Bytes;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A component to be loaded.
pub(super) struct Guest {
    pub(super) stem: String,
    pub(super) bytes: Bytes,
}

/// What a guest does when its tool is called.
pub(super) enum Body<'a> {
    /// Gives its arguments back as its structured result.
    Echo,
    /// Gives this JSON back as its structured result.
    Answer(&'a str),
    /// Crashes.
    Trap,
    /// Computes until it is stopped.
    Spin,
    /// Counts so many rounds, and then gives nothing back.
    Count(u32),
    /// Empties a file of its first directory, or makes it, writes this text and, with the file
    /// still open, ends.
    Write { file: &'a str, text: &'a str, end: End },
}

/// How a guest that has written ends.
#[derive(Clone, Copy)]
pub(super) enum End {
    Return,
    Trap,
}

/// What a guest that writes imports.
const FILES_WIT: &str = include_str!("../../../runtime/src/tests/filesystem.wit");
const FILES: &str = r#"
    (import "wasi:filesystem/preopens@0.2.6" "get-directories" (func $directories (param i32)))
    (import "wasi:filesystem/types@0.2.6" "[method]descriptor.open-at"
        (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "wasi:filesystem/types@0.2.6" "[method]descriptor.write"
        (func $write (param i32 i32 i32 i64 i32)))"#;

pub(super) struct Builder<'a> {
    stem: &'a str,
    tool: &'a str,
    body: Body<'a>,
    read_only: bool,
    input_schema: &'a str,
    output_schema: Option<&'a str>,
    import: Option<&'a str>,
}

/// A guest whose file is called `stem`, with a read-only tool.
pub(super) fn guest<'a>(stem: &'a str, body: Body<'a>) -> Builder<'a> {
    Builder {
        stem,
        tool: "run",
        body,
        read_only: true,
        input_schema: r#"{"type":"object"}"#,
        output_schema: None,
        import: None,
    }
}

impl<'a> Builder<'a> {
    /// The tool has side effects, or says so.
    pub(super) fn with_side_effects(mut self) -> Self {
        self.read_only = false;
        self
    }

    /// The tool has another name than `run`.
    pub(super) fn called(mut self, tool: &'a str) -> Self {
        self.tool = tool;
        self
    }

    pub(super) fn taking(mut self, schema: &'a str) -> Self {
        self.input_schema = schema;
        self
    }

    pub(super) fn giving(mut self, schema: &'a str) -> Self {
        self.output_schema = Some(schema);
        self
    }

    /// Imports an interface, and uses its one function without meaning it.
    pub(super) fn importing(mut self, interface: &'a str) -> Self {
        self.import = Some(interface);
        self
    }

    pub(super) fn build(self) -> Guest {
        Guest { stem: self.stem.to_owned(), bytes: self.component() }
    }

    fn component(&self) -> Bytes {
        let mut resolve = Resolve::default();
        let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
        resolve.push_path(contract).expect("the contract parses");
        let mut import = self.import.map(|name| format!("import {name};")).unwrap_or_default();
        if self.writes() {
            import += "import wasi:filesystem/types@0.2.6; import wasi:filesystem/preopens@0.2.6;";
        }
        let wit = format!(
            "package test:guest;
             world guest {{ {import} export foreshore:tool/tool@0.1.0; }}
             package wasi:http@0.2.6 {{ interface outgoing-handler {{ handle: func(); }} }}
             {FILES_WIT}"
        );
        let package = resolve.push_str("guest.wit", &wit).expect("the world parses");
        let world = resolve.select_world(&[package], Some("guest")).expect("a world");
        let mut module = wat::parse_str(self.module()).expect("valid text");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("embeds");
        let encoder = ComponentEncoder::default().module(&module).expect("a module of this world");
        encoder.validate(true).encode().expect("encodes").into()
    }

    fn writes(&self) -> bool {
        matches!(self.body, Body::Write { .. })
    }

    fn module(&self) -> String {
        let mut memory = Memory::default();
        let definition = self.definition(&mut memory);
        let body = self.call(&mut memory);
        let import = self
            .import
            .map(|name| format!(r#"(import "{name}" "handle" (func $handle))"#))
            .unwrap_or_default();
        let files = if self.writes() { FILES } else { "" };
        format!(
            r#"(module
                {import}
                {files}
                (memory (export "memory") 2)
                {data}
                (global $free (mut i32) (i32.const 65536))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (global.get $free))
                    (global.set $free (i32.and
                        (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7))
                        (i32.const -8)))
                    (local.get $at))
                (func (export "foreshore:tool/tool@0.1.0#definitions") (result i32)
                    (i32.const {definition}))
                (func (export "cabi_post_foreshore:tool/tool@0.1.0#definitions") (param i32))
                (func (export "foreshore:tool/tool@0.1.0#call")
                    (param $name i32) (param $name_len i32)
                    (param $arguments i32) (param $arguments_len i32) (result i32)
                    (local $n i32)
                    {body}
                    (i32.const 0))
                (func (export "cabi_post_foreshore:tool/tool@0.1.0#call") (param i32)))"#,
            data = memory.data(),
        )
    }

    /// The list of definitions: an address and a length, at the address given back.
    fn definition(&self, memory: &mut Memory) -> u32 {
        let string = |memory: &mut Memory, text: &str| [memory.put(text.as_bytes()), len(text)];
        let optional = |memory: &mut Memory, text: Option<&str>| match text {
            None => [0; 3],
            Some(text) => {
                let [at, length] = string(memory, text);
                [1, at, length]
            }
        };
        let mut words = Vec::new();
        words.extend(string(memory, self.tool));
        words.extend(optional(memory, None));
        words.extend(string(memory, "A tool of a test."));
        words.extend(string(memory, self.input_schema));
        words.extend(optional(memory, self.output_schema));
        words.push(u32::from(self.read_only));
        let at = memory.put_words(&words);
        memory.put_words(&[at, 1])
    }

    /// Fills in the result at address 0, which is an empty success before.
    fn call(&self, memory: &mut Memory) -> String {
        let structured = |at: &str, length: &str| {
            format!(
                "(i32.store8 (i32.const 12) (i32.const 1))
                 (i32.store (i32.const 16) {at})
                 (i32.store (i32.const 20) {length})"
            )
        };
        let body = match self.body {
            Body::Echo => structured("(local.get $arguments)", "(local.get $arguments_len)"),
            Body::Answer(json) => {
                let at = memory.put(json.as_bytes());
                structured(&format!("(i32.const {at})"), &format!("(i32.const {})", len(json)))
            }
            Body::Trap => "(unreachable)".to_owned(),
            Body::Write { file, text, end } => {
                let (file_at, file_len) = (memory.put(file.as_bytes()), len(file));
                let (text_at, text_len) = (memory.put(text.as_bytes()), len(text));
                let end = match end {
                    End::Return => "",
                    End::Trap => "(unreachable)",
                };
                // Far from the data: a list, the result of opening, that of writing.
                format!(
                    "(call $directories (i32.const 60000))
                     (call $open (i32.load (i32.load (i32.const 60000))) (i32.const 0)
                        (i32.const {file_at}) (i32.const {file_len})
                        (i32.const 9) (i32.const 2) (i32.const 60016))
                     (if (i32.load8_u (i32.const 60016)) (then (unreachable)))
                     (call $write (i32.load (i32.const 60020))
                        (i32.const {text_at}) (i32.const {text_len})
                        (i64.const 0) (i32.const 60032))
                     (if (i32.load8_u (i32.const 60032)) (then (unreachable)))
                     {end}"
                )
            }
            Body::Spin => "(loop $again (br $again))".to_owned(),
            Body::Count(rounds) => format!(
                "(loop $again
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $n) (i32.const {rounds}))))"
            ),
        };
        match self.import {
            // Reached by nobody, so that the import stays and never runs.
            Some(_) => format!("(if (local.get $n) (then (call $handle))) {body}"),
            None => body,
        }
    }
}

/// The start of a guest's memory; the result of its call is at 0.
struct Memory(Vec<u8>);

impl Default for Memory {
    fn default() -> Self {
        Self(vec![0; 64])
    }
}

impl Memory {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = u32::try_from(self.0.len()).expect("small");
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        at
    }

    fn put_words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }

    fn data(&self) -> String {
        let escaped: String = self.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(data (i32.const 0) \"{escaped}\")")
    }
}

fn len(text: &str) -> u32 {
    u32::try_from(text.len()).expect("small")
}
