//! Redirections, and the here-documents that follow the lines that name them.

use std::cell::OnceCell;
use std::rc::Rc;

use super::parser::{Parsed, Parser};
use super::{Part, Redirect, Target, Word};

/// A here-document that was named in the line that is being read.
pub(super) struct PendingHere {
    pub(super) end: String,
    strips_tabs: bool,
    quoted: bool,
    body: Rc<OnceCell<Word>>,
}

impl Parser<'_> {
    pub(super) fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let start = self.at;
        if self.eat("&>") {
            let appends = self.eat(">");
            let word = self.target()?;
            return Ok(Some(Redirect { descriptor: 1, target: Target::Both { word, appends } }));
        }
        let number = self.peek().and_then(|c| c.to_digit(10)).and_then(|n| usize::try_from(n).ok());
        if number.is_some() {
            self.at += 1;
        }
        let (own, target) = if self.eat("<<<") {
            (0, Target::HereString(self.target()?))
        } else if self.looking_at("<(") || self.looking_at(">(") {
            return Err(self.error("there is no process substitution: write to a file"));
        } else if self.eat("<<") {
            (0, Target::Here(self.here_delimiter()?))
        } else if self.eat("<&") {
            (0, Target::Duplicate(self.target()?))
        } else if self.eat("<") {
            (0, Target::Read(self.target()?))
        } else if self.eat(">>") {
            (1, Target::Append(self.target()?))
        } else if self.eat(">&") {
            (1, Target::Duplicate(self.target()?))
        } else if self.eat(">|") || self.eat(">") {
            (1, Target::Write(self.target()?))
        } else {
            self.at = start;
            return Ok(None);
        };
        Ok(Some(Redirect { descriptor: number.unwrap_or(own), target }))
    }

    fn target(&mut self) -> Parsed<Word> {
        self.blanks();
        self.word()?.ok_or_else(|| self.error("a redirection names no file"))
    }

    fn here_delimiter(&mut self) -> Parsed<Rc<OnceCell<Word>>> {
        let strips_tabs = self.eat("-");
        self.blanks();
        let word = self.word()?.ok_or_else(|| self.error("a here-document names no end"))?;
        let (mut end, mut quoted) = (String::new(), false);
        for part in &word.0 {
            match part {
                Part::Literal(text) => end.push_str(text),
                Part::Quoted(text) => {
                    end.push_str(text);
                    quoted = true;
                }
                _ => return Err(self.error("the end of a here-document is a plain word")),
            }
        }
        let body = Rc::new(OnceCell::new());
        self.here.push(PendingHere { end, strips_tabs, quoted, body: Rc::clone(&body) });
        Ok(body)
    }

    pub(super) fn read_here_documents(&mut self) -> Parsed<()> {
        for here in std::mem::take(&mut self.here) {
            let (line, mut body) = (self.error("").line - 1, String::new());
            loop {
                if self.at >= self.text.len() {
                    let message =
                        format!("the here-document has no line {:?} at its end", here.end);
                    return Err(self.error(message));
                }
                let rest = &self.text[self.at..];
                let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
                self.at += length;
                let mut content = &rest[..length];
                if here.strips_tabs {
                    content = content.trim_start_matches('\t');
                }
                if content.trim_end_matches('\n') == here.end {
                    break;
                }
                body.push_str(content);
            }
            let word = if here.quoted {
                Word(vec![Part::Quoted(body)])
            } else {
                Word(vec![Part::Double(Parser::new(&body, self.depth, line).here_document()?)])
            };
            // Set once: each here-document is read after the one line that names it.
            let _ = here.body.set(word);
        }
        Ok(())
    }
}
