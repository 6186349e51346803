//! What commands read and write: bytes, from memory or files.
//!
//! The stages of a pipeline run one after the other, and what is between them lies in memory,
//! bounded by `HELD_MAX_BYTES`. What the call itself gives back is bounded too, and says that it
//! was cut instead of failing. Nothing here knows a path or a grant.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write};
use std::rc::Rc;

use crate::fault::{Fault, Reason};

/// How much a pipe, a substitution or a command's view of a file may hold.
pub(crate) const HELD_MAX_BYTES: usize = 4 << 20;

/// The longest line that is taken from a stream.
const LINE_MAX_BYTES: usize = 2 << 20;

/// Why nothing more could be read or written.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// More than may be held.
    TooMuch(&'static str),
    /// A file could not be written.
    Fault(Fault),
    Io(io::Error),
}

/// Where a command reads. Shared: what one command takes is gone for the next.
#[derive(Clone)]
pub(crate) struct Input(Rc<RefCell<dyn BufRead>>);

/// Where a command writes.
#[derive(Clone, Debug)]
pub(crate) struct Output(Rc<RefCell<Sink>>);

#[derive(Debug)]
enum Sink {
    Nowhere,
    File {
        file: BufWriter<File>,
        path: String,
    },
    /// Holds up to its size, and refuses more.
    Held(Vec<u8>),
    /// Holds up to its size, and drops the rest.
    Cut {
        bytes: Vec<u8>,
        max: usize,
        cut: bool,
    },
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Input")
    }
}

impl Input {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(Cursor::new(bytes))))
    }

    pub(crate) fn file(file: File) -> Self {
        Self(Rc::new(RefCell::new(BufReader::with_capacity(32 << 10, file))))
    }

    /// The next line with its end; `None` at the end of the stream.
    pub(crate) fn line(&self) -> Result<Option<Vec<u8>>, StreamError> {
        self.until(b'\n')
    }

    /// All up to the next `end`, which is included if it is there.
    pub(crate) fn until(&self, end: u8) -> Result<Option<Vec<u8>>, StreamError> {
        let mut line = Vec::new();
        let max = u64::try_from(LINE_MAX_BYTES).unwrap_or(u64::MAX);
        (&mut *self.0.borrow_mut()).take(max + 1).read_until(end, &mut line)?;
        if line.len() > LINE_MAX_BYTES {
            return Err(StreamError::TooMuch("a line has more than 2 MiB"));
        }
        Ok((!line.is_empty()).then_some(line))
    }

    /// Everything that is left.
    pub(crate) fn rest(&self) -> Result<Vec<u8>, StreamError> {
        let mut bytes = Vec::new();
        let max = u64::try_from(HELD_MAX_BYTES).unwrap_or(u64::MAX);
        (&mut *self.0.borrow_mut()).take(max + 1).read_to_end(&mut bytes)?;
        if bytes.len() > HELD_MAX_BYTES {
            return Err(StreamError::TooMuch("more than 4 MiB cannot be held at once"));
        }
        Ok(bytes)
    }

    /// Some of what is left, at most as much as fits the buffer; 0 at the end.
    pub(crate) fn some(&self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        Ok(self.0.borrow_mut().read(buffer)?)
    }
}

impl Output {
    pub(crate) fn nowhere() -> Self {
        Self::of(Sink::Nowhere)
    }

    /// Writes to a file; `path` is its path in full.
    pub(crate) fn file(file: File, path: String) -> Self {
        Self::of(Sink::File { file: BufWriter::with_capacity(32 << 10, file), path })
    }

    pub(crate) fn held() -> Self {
        Self::of(Sink::Held(Vec::new()))
    }

    pub(crate) fn cut_at(max: usize) -> Self {
        Self::of(Sink::Cut { bytes: Vec::new(), max, cut: false })
    }

    fn of(sink: Sink) -> Self {
        Self(Rc::new(RefCell::new(sink)))
    }

    pub(crate) fn write(&self, data: &[u8]) -> Result<(), StreamError> {
        match &mut *self.0.borrow_mut() {
            Sink::Nowhere => {}
            Sink::File { file, path } => {
                file.write_all(data).map_err(|error| unwritten(&error, path))?;
            }
            Sink::Held(bytes) => {
                if bytes.len() + data.len() > HELD_MAX_BYTES {
                    return Err(StreamError::TooMuch(
                        "a pipe or substitution holds at most 4 MiB: let the first command read \
                         less, or write to a file",
                    ));
                }
                bytes.extend_from_slice(data);
            }
            Sink::Cut { bytes, max, cut } => {
                let room = max.saturating_sub(bytes.len());
                *cut |= data.len() > room;
                bytes.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        Ok(())
    }

    /// Hands what is buffered to the file.
    pub(crate) fn flush(&self) -> Result<(), StreamError> {
        if let Sink::File { file, path } = &mut *self.0.borrow_mut() {
            file.flush().map_err(|error| unwritten(&error, path))?;
        }
        Ok(())
    }

    /// What was written to memory, and whether there was more.
    pub(crate) fn take(&self) -> (Vec<u8>, bool) {
        match &mut *self.0.borrow_mut() {
            Sink::Nowhere | Sink::File { .. } => (Vec::new(), false),
            Sink::Held(bytes) => (std::mem::take(bytes), false),
            Sink::Cut { bytes, cut, .. } => (std::mem::take(bytes), *cut),
        }
    }
}

fn unwritten(error: &io::Error, path: &str) -> StreamError {
    StreamError::Fault(Reason::from_io(error, path).at(path))
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_reader_takes_is_gone_for_the_next() {
        let input = Input::bytes(b"a\nb\nc".to_vec());
        let other = input.clone();
        assert_eq!(input.line().expect("read"), Some(b"a\n".to_vec()));
        assert_eq!(other.rest().expect("read"), b"b\nc");
        assert_eq!(input.line().expect("read"), None);
    }

    #[test]
    fn a_pipe_refuses_and_the_result_is_cut() {
        let full = vec![b'x'; HELD_MAX_BYTES];
        let held = Output::held();
        held.write(&full).expect("fits");
        assert!(matches!(held.write(b"y"), Err(StreamError::TooMuch(_))));
        let cut = Output::cut_at(3);
        cut.write(b"ab").expect("fits");
        cut.write(b"cd").expect("is cut");
        assert_eq!(cut.take(), (b"abc".to_vec(), true));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let input = Input::bytes(vec![b'x'; LINE_MAX_BYTES + 1]);
        assert!(matches!(input.line(), Err(StreamError::TooMuch(_))));
    }
}
