//! Turns Markdown into HTML that is safe to show, with the title and the outline of the document.

mod render;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stem_guest::{Context, Interruption};

/// A document: as `text/markdown`, or as JSON.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Document {
    /// The Markdown itself.
    Text(String),
    /// The Markdown in a JSON object.
    Object {
        /// CommonMark with tables, footnotes, task lists and strikethrough.
        markdown: String,
    },
}

/// The rendered document.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Page {
    /// The body as HTML: no raw HTML of the author's, no links that run scripts.
    html: String,
    /// The first heading of the highest level.
    title: Option<String>,
    /// The outline, in order.
    headings: Vec<Heading>,
}

/// One heading of the outline.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Heading {
    /// 1 to 6.
    level: u8,
    /// Its text, without markup.
    text: String,
    /// The `id` that it has in the HTML: `#id` leads to it.
    id: String,
}

/// Renders Markdown as HTML, with its title and headings. Takes text/markdown, or JSON {"markdown": …}.
#[stem_guest::task(max_attempts = 3, hard_time_limit = "10s")]
fn markdown(ctx: &Context, document: Document) -> Result<Page, Interruption> {
    let (Document::Text(markdown) | Document::Object { markdown }) = document;
    let page = render::page(&markdown);
    ctx.progress(1.0, format!("{} headings", page.headings.len()));
    Ok(page)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stem_guest::{Payload, testing};

    fn rendered(payload: Payload) -> Value {
        testing::run("markdown", payload)
            .and_then(|page| page.decode())
            .expect("rendered")
    }

    #[test]
    fn a_document_is_taken_as_text_and_as_json() {
        let page = json!({
            "html": "<h1 id=\"hello-world\">Hello <em>world</em></h1>\n<p>x</p>\n",
            "title": "Hello world",
            "headings": [{"level": 1, "text": "Hello world", "id": "hello-world"}],
        });
        let markdown = "# Hello *world*\n\nx";
        assert_eq!(rendered(Payload::new("text/markdown", markdown)), page);
        assert_eq!(rendered(json!({"markdown": markdown}).into()), page);
    }

    #[test]
    fn a_document_that_is_neither_is_rejected() {
        let refused = testing::run("markdown", json!({"text": "x"})).expect_err("no Markdown");
        assert!(
            refused.to_string().starts_with("rejected: invalid-payload"),
            "{refused}"
        );
    }
}
