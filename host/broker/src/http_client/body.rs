//! The body of an answer: as a whole, bounded, or line by line as it comes.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::connection::Connection;
use super::{Idle, with_source};

/// A body that is being read. Dropping it before its end closes the connection.
pub(crate) struct AnswerBody {
    incoming: Incoming,
    /// `None` once the connection was given back.
    connection: Option<Connection>,
    idle: Arc<Idle>,
}

/// Why a body cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("it sent a line of more than {max_bytes} bytes")]
    LineTooLong { max_bytes: usize },
    #[error("it sent more than {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
}

impl AnswerBody {
    pub(super) fn new(incoming: Incoming, connection: Connection, idle: Arc<Idle>) -> Self {
        Self { incoming, connection: Some(connection), idle }
    }

    /// The next part; `None` at the end.
    async fn part(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match self.incoming.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(BodyError::Broken(with_source(&error))),
                None => {
                    if let Some(connection) = self.connection.take() {
                        self.idle.keep(connection);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// [`BodyError`].
    pub(crate) async fn whole(mut self, max_bytes: usize) -> Result<Bytes, BodyError> {
        let mut all = BytesMut::new();
        while let Some(part) = self.part().await? {
            if all.len() + part.len() > max_bytes {
                return Err(BodyError::TooLarge { max_bytes });
            }
            all.extend_from_slice(&part);
        }
        Ok(all.freeze())
    }

    /// Line by line.
    pub(crate) fn lines(self, line_max_bytes: usize) -> Lines {
        Lines { body: self, split: LineSplit::new(line_max_bytes), ended: false }
    }
}

/// A body, line by line: of the lines, only the one that is being received is kept.
pub(crate) struct Lines {
    body: AnswerBody,
    split: LineSplit,
    ended: bool,
}

impl Lines {
    /// The next line without its end; `None` at the end. Can be dropped and called again: what
    /// came is kept.
    ///
    /// # Errors
    /// [`BodyError`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if let Some(line) = self.split.line()? {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(self.split.rest());
            }
            match self.body.part().await? {
                Some(part) => self.split.push(&part),
                None => self.ended = true,
            }
        }
    }

    /// Reads to the end, if it is near, so that the connection can be used again.
    pub(crate) async fn finish(&mut self) {
        let rest = async { while let Ok(Some(_)) = self.body.part().await {} };
        // A server that goes on for longer loses the connection, and nothing else.
        let _ = tokio::time::timeout(FINISH, rest).await;
    }
}

const FINISH: std::time::Duration = std::time::Duration::from_millis(100);

/// Parts come in, lines go out.
#[derive(Debug)]
pub(crate) struct LineSplit {
    buffer: BytesMut,
    /// Bytes at the front that hold no line end.
    searched: usize,
    max_bytes: usize,
}

impl LineSplit {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, max_bytes }
    }

    pub(crate) fn push(&mut self, part: &[u8]) {
        self.buffer.extend_from_slice(part);
    }

    /// The next whole line.
    ///
    /// # Errors
    /// [`BodyError::LineTooLong`].
    pub(crate) fn line(&mut self) -> Result<Option<Bytes>, BodyError> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let length = end.map_or(self.buffer.len(), |end| self.searched + end);
        if length > self.max_bytes {
            return Err(BodyError::LineTooLong { max_bytes: self.max_bytes });
        }
        if end.is_none() {
            self.searched = length;
            return Ok(None);
        }
        let mut line = self.buffer.split_to(length).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Ok(Some(line))
    }

    /// What came after the last line end, once.
    fn rest(&mut self) -> Option<Bytes> {
        self.searched = 0;
        let rest = self.buffer.split().freeze();
        (!rest.is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests;
