//! The page being written: what each tag does.
//!
//! Blocks (paragraphs, headings, items) are collected in one line and written when they end,
//! behind the marks of the lists and quotes they lie in. The invariant: what has been written is
//! final, so writing is linear in the length of the page.

use html5gum::{HtmlString, StartTag};
use url::Url;

use super::inline::{Line, Span, longest_run};
use super::table::{Blocks, Table};

/// Deeper lists and quotes are written at this depth.
const DEPTH_MAX: usize = 16;
const TITLE_MAX_CHARACTERS: usize = 300;

/// Elements whose content is no text of the page.
const LEFT_OUT: [&[u8]; 14] = [
    b"script",
    b"style",
    b"template",
    b"noscript",
    b"iframe",
    b"svg",
    b"canvas",
    b"object",
    b"select",
    b"textarea",
    b"audio",
    b"video",
    b"noframes",
    b"noembed",
];

/// What blocks lie in.
#[derive(Debug)]
enum Container {
    Quote,
    /// The number of the next item; `None` for a list without numbers.
    List(Option<u32>),
    /// Its mark, and whether that has been written.
    Item {
        mark: String,
        is_marked: bool,
    },
}

/// A part of the page whose text goes elsewhere.
#[derive(Debug)]
enum Special {
    /// Left out until the element ends; how many of its name are open.
    LeftOut {
        name: Vec<u8>,
        open: usize,
    },
    Title(String),
    /// Code that keeps its form, with its language.
    Code {
        text: String,
        language: Option<String>,
    },
}

#[derive(Debug)]
pub(super) struct Page {
    base: Url,
    out: String,
    line: Line,
    /// The mark of the block being written: `## ` of a heading, `: ` of a definition.
    mark: &'static str,
    containers: Vec<Container>,
    special: Option<Special>,
    /// The table being read, and how many are open inside of each other.
    table: Option<Table>,
    tables_open: usize,
    title: Option<String>,
    /// The last thing written was an item of a list: the next follows without an empty line.
    is_tight: bool,
}

impl Page {
    pub(super) fn new(base: Url) -> Self {
        Self {
            base,
            out: String::new(),
            line: Line::default(),
            mark: "",
            containers: Vec::new(),
            special: None,
            table: None,
            tables_open: 0,
            title: None,
            is_tight: false,
        }
    }

    pub(super) fn written_bytes(&self) -> usize {
        let code = match &self.special {
            Some(Special::Code { text, .. }) => text.len(),
            _ => 0,
        };
        self.out.len() + self.line.length() + self.table.as_ref().map_or(0, Table::length) + code
    }

    pub(super) fn finish(mut self) -> (String, Option<String>) {
        if let Some(Special::Code { text, language }) = self.special.take() {
            self.code(&text, language.as_deref());
        }
        if let Some(table) = self.table.take() {
            self.close_table(table);
        }
        self.end_block();
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        (self.out, self.title)
    }

    pub(super) fn text(&mut self, text: &str) {
        match &mut self.special {
            Some(Special::LeftOut { .. }) => {}
            Some(Special::Title(title)) => title.push_str(text),
            Some(Special::Code { text: code, .. }) => code.push_str(text),
            None => self.line.push_text(text),
        }
    }

    pub(super) fn start(&mut self, tag: &StartTag<()>) {
        let name = tag.name.as_slice();
        if self.is_in_special(tag, name) {
            return;
        }
        match name {
            _ if LEFT_OUT.contains(&name) => self.leave_out(name, tag.self_closing),
            b"div" | b"section" | b"aside" | b"nav" | b"span"
                if attribute(tag, "hidden").is_some() =>
            {
                self.leave_out(name, false);
            }
            b"title" => self.special = Some(Special::Title(String::new())),
            b"base" => self.set_base(tag),
            b"b" | b"strong" => self.line.open(Span::Strong),
            b"i" | b"em" | b"cite" | b"dfn" => self.line.open(Span::Emphasis),
            b"del" | b"s" | b"strike" => self.line.open(Span::Struck),
            b"code" | b"kbd" | b"samp" | b"tt" => self.line.open(Span::Code),
            b"a" => self.open_link(tag),
            b"img" => self.image(tag),
            b"br" => self.line_break(),
            b"table" | b"tr" | b"td" | b"th" | b"caption" => self.start_table_part(name),
            _ if self.table.is_some() => self.space_for_block(name),
            b"pre" => {
                self.end_block();
                let language = language_of(tag);
                self.special = Some(Special::Code { text: String::new(), language });
            }
            b"hr" => {
                self.end_block();
                self.write_block(&["---".to_owned()]);
            }
            b"ul" | b"ol" | b"menu" => self.open_list(tag),
            b"li" => self.open_item(),
            b"blockquote" => {
                self.end_block();
                self.push_container(Container::Quote);
            }
            b"dt" => {
                self.end_term();
                self.line.open(Span::Strong);
            }
            b"dd" => {
                self.end_term();
                self.mark = ": ";
            }
            _ => self.start_plain_block(name),
        }
    }

    pub(super) fn end(&mut self, name: &HtmlString) {
        let name = name.as_slice();
        if self.ends_special(name) {
            return;
        }
        match name {
            b"b" | b"strong" => self.line.close(|span| *span == Span::Strong),
            b"i" | b"em" | b"cite" | b"dfn" => self.line.close(|span| *span == Span::Emphasis),
            b"del" | b"s" | b"strike" => self.line.close(|span| *span == Span::Struck),
            b"code" | b"kbd" | b"samp" | b"tt" => self.line.close(|span| *span == Span::Code),
            b"a" => self.line.close(|span| matches!(span, Span::Link(_))),
            b"table" | b"tr" | b"td" | b"th" | b"caption" => self.end_table_part(name),
            _ if self.table.is_some() => self.space_for_block(name),
            b"ul" | b"ol" | b"menu" => self.close_container(|it| matches!(it, Container::List(_))),
            b"li" => self.close_item(),
            b"blockquote" => self.close_container(|it| matches!(it, Container::Quote)),
            b"dt" => self.end_term(),
            _ if is_block(name) => self.end_block(),
            _ => {}
        }
    }

    /// Whether a tag lies in a part whose tags mean nothing.
    fn is_in_special(&mut self, tag: &StartTag<()>, name: &[u8]) -> bool {
        match &mut self.special {
            None => false,
            Some(Special::LeftOut { name: left_out, open }) => {
                *open += usize::from(left_out.as_slice() == name && !tag.self_closing);
                true
            }
            Some(Special::Title(_)) => true,
            Some(Special::Code { text, language }) => {
                match name {
                    b"br" => text.push('\n'),
                    b"code" if language.is_none() => *language = language_of(tag),
                    _ => {}
                }
                true
            }
        }
    }

    /// Whether an end tag was taken by a part whose tags mean nothing.
    fn ends_special(&mut self, name: &[u8]) -> bool {
        match self.special.take() {
            None => return false,
            Some(Special::LeftOut { name: left_out, open }) => {
                let open = open - usize::from(left_out == name);
                if open > 0 {
                    self.special = Some(Special::LeftOut { name: left_out, open });
                } else {
                    self.line.push_space();
                }
            }
            Some(Special::Title(title)) => {
                let words: Vec<_> = title.split_whitespace().collect();
                let title: String = words.join(" ").chars().take(TITLE_MAX_CHARACTERS).collect();
                if !title.is_empty() {
                    self.title.get_or_insert(title);
                }
            }
            Some(Special::Code { text, language }) if name == b"pre" => {
                self.code(&text, language.as_deref());
            }
            Some(code) => self.special = Some(code),
        }
        true
    }

    fn leave_out(&mut self, name: &[u8], is_closed: bool) {
        if !is_closed {
            self.special = Some(Special::LeftOut { name: name.to_vec(), open: 1 });
        }
    }

    fn set_base(&mut self, tag: &StartTag<()>) {
        let address = attribute(tag, "href").and_then(|href| self.base.join(&href).ok());
        if let Some(base) = address.filter(|base| matches!(base.scheme(), "http" | "https")) {
            self.base = base;
        }
    }

    fn open_link(&mut self, tag: &StartTag<()>) {
        // A link does not lie in a link.
        self.line.close(|span| matches!(span, Span::Link(_)));
        let address = attribute(tag, "href").and_then(|href| self.address(&href));
        if let Some(address) = address {
            self.line.open(Span::Link(address));
        }
    }

    fn image(&mut self, tag: &StartTag<()>) {
        // Without a text a picture is decoration.
        let Some(text) = attribute(tag, "alt").filter(|text| !text.trim().is_empty()) else {
            return;
        };
        let Some(address) = attribute(tag, "src").and_then(|source| self.address(&source)) else {
            return self.line.push_text(&text);
        };
        self.line.push_markdown("![");
        self.line.push_text(text.trim());
        self.line.push_markdown(&format!("]({address})"));
    }

    /// An absolute address that can stand in parentheses; `None` for one that leads nowhere.
    fn address(&self, reference: &str) -> Option<String> {
        let reference = reference.trim();
        if reference.is_empty() || reference.starts_with('#') {
            return None;
        }
        let address = self.base.join(reference).ok()?;
        matches!(address.scheme(), "http" | "https" | "mailto" | "tel" | "ftp")
            .then(|| address.as_str().replace('(', "%28").replace(')', "%29"))
    }

    fn line_break(&mut self) {
        let is_one_line = self.table.is_some() || self.mark.starts_with('#');
        if is_one_line { self.line.push_space() } else { self.line.push_break() }
    }

    fn start_table_part(&mut self, name: &[u8]) {
        if name == b"table" {
            self.tables_open += 1;
            if self.tables_open == 1 {
                self.end_block();
                self.table = Some(Table::default());
                return;
            }
        }
        // A table in a table is text of the cell it lies in.
        if self.tables_open != 1 {
            return self.space_for_block(b"td");
        }
        self.close_cell();
        match (&mut self.table, name) {
            (Some(table), b"tr") => table.begin_row(),
            (Some(table), b"td" | b"th") => table.begin_cell(),
            _ => {}
        }
    }

    fn end_table_part(&mut self, name: &[u8]) {
        if name == b"table" {
            self.tables_open = self.tables_open.saturating_sub(1);
            if self.tables_open == 0
                && let Some(table) = self.table.take()
            {
                self.close_table(table);
            }
        } else if self.tables_open == 1 {
            self.close_cell();
        } else {
            self.space_for_block(b"td");
        }
    }

    /// Ends the cell being read.
    fn close_cell(&mut self) {
        let text = self.line.take();
        if let Some(table) = &mut self.table {
            table.end_cell(&text);
        }
    }

    fn close_table(&mut self, mut table: Table) {
        table.end_cell(&self.line.take());
        match table.into_blocks() {
            Blocks::Paragraphs(texts) => {
                for text in texts {
                    self.write_block(&[at_start_of_line(&text)]);
                }
            }
            Blocks::Rows(lines) => self.write_block(&lines),
        }
    }

    fn space_for_block(&mut self, name: &[u8]) {
        if is_block(name) || matches!(name, b"li" | b"td" | b"pre" | b"ul" | b"ol") {
            self.line.push_space();
        }
    }

    fn open_list(&mut self, tag: &StartTag<()>) {
        self.end_block();
        let is_ordered = tag.name.as_slice() == b"ol";
        let start = attribute(tag, "start").and_then(|start| start.trim().parse().ok());
        self.push_container(Container::List(is_ordered.then_some(start.unwrap_or(1))));
    }

    fn open_item(&mut self) {
        self.end_block();
        self.close_item();
        let mark = match self.containers.last_mut() {
            Some(Container::List(Some(number))) => {
                let mark = format!("{number}. ");
                *number = number.saturating_add(1);
                mark
            }
            _ => "- ".to_owned(),
        };
        self.push_container(Container::Item { mark, is_marked: false });
    }

    /// Closes the item of the innermost list, if one is open.
    fn close_item(&mut self) {
        let innermost = self.containers.iter().rposition(|it| !matches!(it, Container::Quote));
        if innermost.is_some_and(|at| matches!(self.containers[at], Container::Item { .. })) {
            self.close_container(|it| matches!(it, Container::Item { .. }));
        }
    }

    fn push_container(&mut self, container: Container) {
        if self.containers.len() < DEPTH_MAX {
            self.containers.push(container);
        }
    }

    /// Closes the innermost container of a kind, and what is open inside of it.
    fn close_container(&mut self, is_it: impl Fn(&Container) -> bool) {
        let Some(index) = self.containers.iter().rposition(is_it) else { return };
        self.end_block();
        self.containers.truncate(index);
        let in_list = self.containers.iter().any(|it| matches!(it, Container::List(_)));
        self.is_tight &= in_list;
        if self.containers.is_empty() {
            self.line.reset();
        }
    }

    /// Ends a term of a definition list, which is strong, or its definition.
    fn end_term(&mut self) {
        self.line.close(|span| *span == Span::Strong);
        self.end_block();
    }

    fn start_plain_block(&mut self, name: &[u8]) {
        if !is_block(name) {
            return;
        }
        self.end_block();
        self.mark = match name {
            b"h1" => "# ",
            b"h2" => "## ",
            b"h3" => "### ",
            b"h4" => "#### ",
            b"h5" => "##### ",
            b"h6" => "###### ",
            _ => "",
        };
    }

    /// Writes the block that is being collected, if there is anything in it.
    fn end_block(&mut self) {
        let mark = std::mem::take(&mut self.mark);
        let text = self.line.take();
        if text.is_empty() {
            return;
        }
        let mut lines: Vec<String> = text.split('\n').map(at_start_of_line).collect();
        lines[0].insert_str(0, mark);
        let last = lines.len() - 1;
        for line in &mut lines[..last] {
            line.push_str("  ");
        }
        self.write_block(&lines);
    }

    fn code(&mut self, text: &str, language: Option<&str>) {
        let text = text.strip_prefix('\n').unwrap_or(text).trim_end();
        if text.is_empty() {
            return;
        }
        let fence = "`".repeat((longest_run(text) + 1).max(3));
        let mut lines = vec![format!("{fence}{}", language.unwrap_or(""))];
        lines.extend(text.lines().map(str::to_owned));
        lines.push(fence);
        self.write_block(&lines);
    }

    /// Writes lines behind the marks of what they lie in.
    fn write_block(&mut self, lines: &[String]) {
        let opens_item =
            matches!(self.containers.last(), Some(Container::Item { is_marked: false, .. }));
        if !self.out.is_empty() {
            let is_apart = !(opens_item && self.is_tight);
            if is_apart {
                let rest = self.prefix(false);
                self.out.push('\n');
                self.out.push_str(rest.trim_end());
            }
            self.out.push('\n');
        }
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                self.out.push('\n');
            }
            let prefix = self.prefix(index == 0);
            let prefix = if line.is_empty() { prefix.trim_end() } else { prefix.as_str() };
            self.out.push_str(prefix);
            self.out.push_str(line);
        }
        self.is_tight = opens_item || (self.is_tight && self.is_in_item());
    }

    fn is_in_item(&self) -> bool {
        self.containers.iter().any(|it| matches!(it, Container::Item { .. }))
    }

    /// The marks that a line stands behind; those of new items once, if `marks` says so.
    fn prefix(&mut self, marks: bool) -> String {
        let mut prefix = String::new();
        for container in &mut self.containers {
            match container {
                Container::Quote => prefix.push_str("> "),
                Container::List(_) => {}
                Container::Item { mark, is_marked } => {
                    if marks && !*is_marked {
                        prefix.push_str(mark);
                        *is_marked = true;
                    } else {
                        prefix.extend(std::iter::repeat_n(' ', mark.len()));
                    }
                }
            }
        }
        prefix
    }
}

/// A line of text must not begin like a block of Markdown.
fn at_start_of_line(line: &str) -> String {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let after_digits = &line[digits..];
    if line.starts_with(['#', '>', '|']) || line.starts_with("- ") || line.starts_with("+ ") {
        format!("\\{line}")
    } else if line.starts_with("---") || line.starts_with("===") || line.starts_with("~~~ ") {
        format!("\\{line}")
    } else if digits > 0 && after_digits.starts_with([')', '.']) {
        format!("{}\\{after_digits}", &line[..digits])
    } else {
        line.to_owned()
    }
}

fn is_block(name: &[u8]) -> bool {
    matches!(
        name,
        b"p" | b"div"
            | b"h1"
            | b"h2"
            | b"h3"
            | b"h4"
            | b"h5"
            | b"h6"
            | b"section"
            | b"article"
            | b"header"
            | b"footer"
            | b"main"
            | b"nav"
            | b"aside"
            | b"figure"
            | b"figcaption"
            | b"address"
            | b"details"
            | b"summary"
            | b"form"
            | b"fieldset"
            | b"legend"
            | b"dl"
            | b"dt"
            | b"dd"
            | b"body"
            | b"html"
            | b"head"
            | b"center"
            | b"hgroup"
            | b"search"
            | b"dialog"
            | b"tbody"
            | b"thead"
            | b"tfoot"
    )
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(&value.value).into_owned())
}

/// The language of code, from a class such as `language-rust`.
fn language_of(tag: &StartTag<()>) -> Option<String> {
    let classes = attribute(tag, "class")?;
    let language = classes.split_whitespace().find_map(|class| {
        class.strip_prefix("language-").or_else(|| class.strip_prefix("lang-"))
    })?;
    let is_plain =
        language.chars().all(|each| each.is_ascii_alphanumeric() || "+-#_.".contains(each));
    (is_plain && language.len() <= 32).then(|| language.to_owned())
}
