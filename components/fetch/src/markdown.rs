//! HTML as Markdown, with its links.
//!
//! The page is read as a stream of tags and texts and written as it is read: no tree is built,
//! so memory does not grow with what a hostile page nests. That costs the repairs a browser makes
//! to badly nested tags; headings, paragraphs, lists, tables, code, quotes, links and images
//! come out as a reader expects. Scripts, styles, frames and form fields are left out. The
//! invariant: no text of a page becomes a tag, a link or a heading that the page has not.

mod inline;
mod page;
mod table;

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};
use url::Url;

use self::page::Page;

/// A page as Markdown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Markdown {
    pub(crate) text: String,
    pub(crate) title: Option<String>,
    /// The text stops before the page does.
    pub(crate) is_cut: bool,
}

/// Writes a page as Markdown of about `max_bytes`. `base` is where the page came from: links are
/// made absolute with it.
pub(crate) fn from_html(html: &str, base: &Url, max_bytes: usize) -> Markdown {
    let mut emitter = DefaultEmitter::default();
    // Scripts and styles hold text that only looks like tags.
    emitter.naively_switch_states(true);
    let mut page = Page::new(base.clone());
    let mut is_cut = false;
    for token in Tokenizer::new_with_emitter(html, emitter) {
        match token {
            Ok(Token::StartTag(tag)) => page.start(&tag),
            Ok(Token::EndTag(tag)) => page.end(&tag.name),
            Ok(Token::String(text)) => page.text(&String::from_utf8_lossy(&text.value)),
            Ok(_) => {}
        }
        if page.written_bytes() > max_bytes {
            is_cut = true;
            break;
        }
    }
    let (text, title) = page.finish();
    Markdown { text, title, is_cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(html: &str) -> String {
        let base = Url::parse("https://example.com/docs/page.html").expect("a url");
        from_html(html, &base, usize::MAX).text
    }

    #[test]
    fn headings_paragraphs_and_emphasis() {
        assert_eq!(
            converted(
                "<h1>One</h1><p>Some <b>bold </b>and <em>soft</em>\n  text.<h2>Two <i>x</i></h2>"
            ),
            "# One\n\nSome **bold** and *soft* text.\n\n## Two *x*\n"
        );
        assert_eq!(converted("a<br>b<hr>c<p></p><p> </p>d"), "a  \nb\n\n---\n\nc\n\nd\n");
    }

    #[test]
    fn links_are_absolute() {
        assert_eq!(
            converted(
                "<a href='../a?b=1&amp;c'>x</a> <a href='//o.org/(p)'>y</a> <a href='#top'>z</a>"
            ),
            "[x](https://example.com/a?b=1&c) [y](https://o.org/%28p%29) z\n"
        );
        assert_eq!(
            converted("<base href='https://b.org/x/'><a href='y'>t</a>"),
            "[t](https://b.org/x/y)\n"
        );
        assert_eq!(converted("<a href='javascript:alert(1)'>t</a><a href='/e'> </a>"), "t\n");
        assert_eq!(
            converted("<a href='/l'><div>one</div><div>two</div></a>"),
            "[one](https://example.com/l)\n\n[two](https://example.com/l)\n"
        );
    }

    #[test]
    fn images_have_their_text() {
        assert_eq!(
            converted(
                "<img src=a.png alt='A [b]'><img src=b.png><img alt=c src='data:image/png;base64,AA'>"
            ),
            "![A \\[b\\]](https://example.com/docs/a.png)c\n"
        );
    }

    #[test]
    fn lists_are_nested_and_numbered() {
        assert_eq!(
            converted(
                "<ul><li>a<ul><li>b</ul><li>c <ol start=3><li>d<li><p>e</p><p>f</p></ol></ul>g"
            ),
            "- a\n  - b\n- c\n  3. d\n  4. e\n\n     f\n\ng\n"
        );
    }

    #[test]
    fn quotes_and_definitions() {
        assert_eq!(
            converted("<blockquote><p>a<p>b<ul><li>c</ul></blockquote>d"),
            "> a\n>\n> b\n>\n> - c\n\nd\n"
        );
        assert_eq!(converted("<dl><dt>a<dd>b</dl>"), "**a**\n\n: b\n");
    }

    #[test]
    fn code_keeps_its_form() {
        assert_eq!(
            converted(
                "<pre><code class='x language-rust'>fn a() {\n  *b &lt; c;\n}\n</code></pre>"
            ),
            "```rust\nfn a() {\n  *b < c;\n}\n```\n"
        );
        assert_eq!(converted("<pre>```</pre>"), "````\n```\n````\n");
        assert_eq!(
            converted("use <code>a  *b*</code> or <code>`</code>"),
            "use `a *b*` or `` ` ``\n"
        );
        assert_eq!(converted("<ul><li><pre>a\nb</pre></ul>"), "- ```\n  a\n  b\n  ```\n");
    }

    #[test]
    fn tables_are_rows_with_bars() {
        assert_eq!(
            converted(
                "<p>x<table><thead><tr><th>A<th>B|C</thead><tr><td>1<td><a href=/l>two</a><p>lines</p>\
                 <tr><td>3</table>y"
            ),
            "x\n\n| A | B\\|C |\n| --- | --- |\n| 1 | [two](https://example.com/l) lines |\n| 3 |  |\n\ny\n"
        );
        assert_eq!(
            converted("<table><tr><td></td><td>a<td>b<tr><td>c<td> <td>d</table>"),
            "|  | a | b |\n| --- | --- | --- |\n| c |  | d |\n"
        );
        assert_eq!(converted("<table><tr><td># a</table>"), "\\# a\n");
        assert_eq!(converted("<table><tr><td><p>a</p>b</td></tr><tr><td>c</table>"), "a b\n\nc\n");
    }

    #[test]
    fn what_is_no_text_is_left_out() {
        let html = "<head><title> A  &amp; B </title><style>p{}</style></head><body>\
                    <script>if (a < b) '<p>x'</script><p>y<noscript>n</noscript>\
                    <select><option>o</select><svg><text>s</text></svg><!-- c --><iframe>f</iframe>\
                    <div hidden>h<div>i</div></div><template>t</template>z";
        let base = Url::parse("https://example.com/").expect("a url");
        let markdown = from_html(html, &base, usize::MAX);
        assert_eq!(markdown.text, "y z\n");
        assert_eq!(markdown.title.as_deref(), Some("A & B"));
    }

    #[test]
    fn text_that_looks_like_markdown_stays_text() {
        assert_eq!(
            converted(
                "<p># a</p><p>- b</p><p>1. c</p><p>&gt; d *e* [f](g) &lt;h&gt; `i` \\ snake_case _x_"
            ),
            "\\# a\n\n\\- b\n\n1\\. c\n\n\\> d \\*e\\* \\[f\\](g) \\<h> \\`i\\` \\\\ snake_case \\_x\\_\n"
        );
        assert_eq!(converted("<p>a<br># b"), "a  \n\\# b\n");
    }

    #[test]
    fn bad_nesting_and_unknown_tags_lose_no_text() {
        assert_eq!(converted("<b>a<p>b</b>c</ul></li></a><x-y>d</x-y>"), "**a**\n\n**b**cd\n");
        assert_eq!(converted("<td>a</td></table><li>b"), "a\n\n- b\n");
        assert_eq!(converted("a <b"), "a\n");
    }

    #[test]
    fn a_page_that_nests_without_end_costs_no_more_than_its_length() {
        for tag in
            ["<div>", "<ul><li>", "<blockquote>", "<b>", "<a href=x>", "<table><tr><td>", "<pre>"]
        {
            let html = format!("{}deep", tag.repeat(20_000));
            assert!(converted(&html).contains("deep"), "{tag}");
        }
    }

    #[test]
    fn a_text_is_cut_at_its_limit() {
        let base = Url::parse("https://example.com/").expect("a url");
        let markdown = from_html(&"<p>abcdefgh</p>".repeat(1_000), &base, 100);
        assert!(markdown.is_cut);
        assert!(markdown.text.len() < 130, "{}", markdown.text.len());
        assert!(!from_html("<p>a</p>", &base, 100).is_cut);
    }
}
