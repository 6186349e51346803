//! Redirections.

use crate::fault::Reason;
use crate::files::Writing;
use crate::halt::Halt;
use crate::shell::{Shell, Stream};
use crate::stream::{Input, Output};
use crate::syntax::{Redirect, Target};

impl Shell {
    /// Puts redirections in place, from left to right; `opened` gets the files to flush.
    pub(super) fn redirect(
        &mut self,
        redirects: &[Redirect],
        opened: &mut Vec<Output>,
    ) -> Result<(), Halt> {
        for redirect in redirects {
            let stream = match &redirect.target {
                Target::Read(word) => {
                    let path = self.text(word)?;
                    Some(Stream::In(self.open(&path)?))
                }
                Target::Write(word) => {
                    let path = self.text(word)?;
                    Some(self.write_to(&path, Writing::Replace, opened)?)
                }
                Target::Append(word) => {
                    let path = self.text(word)?;
                    Some(self.write_to(&path, Writing::Append, opened)?)
                }
                Target::Both { word, appends } => {
                    let path = self.text(word)?;
                    let writing = if *appends { Writing::Append } else { Writing::Replace };
                    let stream = self.write_to(&path, writing, opened)?;
                    self.streams.set(2, Some(stream.clone()));
                    Some(stream)
                }
                Target::Duplicate(word) => {
                    let source = self.text(word)?;
                    self.duplicated(&source)?
                }
                Target::Here(body) => {
                    let text = match body.get() {
                        Some(word) => self.text(word)?,
                        None => String::new(),
                    };
                    Some(Stream::In(Input::bytes(text.into_bytes())))
                }
                Target::HereString(word) => {
                    let text = self.text(word)? + "\n";
                    Some(Stream::In(Input::bytes(text.into_bytes())))
                }
            };
            self.streams.set(redirect.descriptor, stream);
        }
        Ok(())
    }

    fn duplicated(&self, source: &str) -> Result<Option<Stream>, Halt> {
        if source == "-" {
            return Ok(None);
        }
        let found = source.parse().ok().and_then(|source| self.streams.find(source));
        match found {
            Some(stream) => Ok(Some(stream.clone())),
            None => Err(Halt::fail(format!("{source}: is no open descriptor"))),
        }
    }

    /// Opens a file for reading, or what stands for one.
    pub(crate) fn open(&self, path: &str) -> Result<Input, Halt> {
        match path {
            "/dev/null" => Ok(Input::bytes(Vec::new())),
            "/dev/stdin" => Ok(self.streams.input()),
            path => Ok(Input::file(self.at(path, |files, path| files.open(path))?)),
        }
    }

    fn write_to(
        &self,
        path: &str,
        writing: Writing,
        opened: &mut Vec<Output>,
    ) -> Result<Stream, Halt> {
        let descriptor = match path {
            "/dev/null" => return Ok(Stream::Out(Output::nowhere())),
            "/dev/stdout" => 1,
            "/dev/stderr" => 2,
            path => {
                let output = self.create(path, writing)?;
                opened.push(output.clone());
                return Ok(Stream::Out(output));
            }
        };
        match self.streams.find(descriptor) {
            Some(stream) => Ok(stream.clone()),
            None => Err(Reason::Other("is closed".to_owned()).at(path).into()),
        }
    }

    /// Opens a file for writing; who writes has to flush.
    pub(crate) fn create(&self, path: &str, writing: Writing) -> Result<Output, Halt> {
        let file = self.at(path, |files, path| files.create(path, writing))?;
        Ok(Output::file(file, self.absolute(path)))
    }
}
