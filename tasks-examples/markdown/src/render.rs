//! From Markdown to a page: events in, events out, with headings named and everything harmful taken away.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use crate::{Heading, Page};

/// Links and images may use these; others (`javascript:`, `data:`) lose their target.
const SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];

pub fn page(markdown: &str) -> Page {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS;
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, options).map(harmless).collect();
    let headings = name_headings(&mut events);
    let highest = headings.iter().map(|heading| heading.level).min();
    let title = headings
        .iter()
        .find(|heading| Some(heading.level) == highest)
        .map(|h| h.text.clone());
    let mut html = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut html, events.into_iter());
    Page {
        html,
        title,
        headings,
    }
}

/// Raw HTML is shown as text; a link to what is not a page leads nowhere.
fn harmless(mut event: Event<'_>) -> Event<'_> {
    if let Event::Html(raw) | Event::InlineHtml(raw) = event {
        return Event::Text(raw);
    }
    if let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = &mut event {
        *dest_url = safe(std::mem::replace(dest_url, CowStr::Borrowed("")));
    }
    event
}

fn safe(url: CowStr<'_>) -> CowStr<'_> {
    // Browsers skip control characters and spaces before a scheme, and control characters within it.
    let seen: String = url
        .chars()
        .filter(|c| !c.is_control() && !c.is_whitespace())
        .collect();
    let scheme = match seen.split_once(':') {
        Some((scheme, _)) if !scheme.contains(['/', '?', '#']) => scheme.to_ascii_lowercase(),
        _ => return url,
    };
    if SCHEMES.contains(&scheme.as_str()) {
        url
    } else {
        "".into()
    }
}

/// Gives every heading an id that no other has, and returns the outline.
fn name_headings(events: &mut [Event<'_>]) -> Vec<Heading> {
    let mut headings = Vec::new();
    let mut taken = BTreeMap::new();
    let mut open: Option<(usize, HeadingLevel, String)> = None;
    for place in 0..events.len() {
        match (&events[place], &mut open) {
            (Event::Start(Tag::Heading { level, .. }), _) => {
                open = Some((place, *level, String::new()))
            }
            (Event::Text(text) | Event::Code(text), Some((_, _, words))) => words.push_str(text),
            (Event::SoftBreak | Event::HardBreak, Some((_, _, words))) => words.push(' '),
            (Event::End(TagEnd::Heading(_)), _) => {
                let Some((start, level, text)) = open.take() else {
                    continue;
                };
                let id = unique(slug(&text), &mut taken);
                name_heading(&mut events[start], &id);
                headings.push(Heading {
                    level: level as u8,
                    text,
                    id,
                });
            }
            _ => {}
        }
    }
    headings
}

fn name_heading(event: &mut Event<'_>, name: &str) {
    if let Event::Start(Tag::Heading { id, .. }) = event {
        *id = Some(name.to_owned().into());
    }
}

/// `Hello, World!` → `hello-world`.
fn slug(text: &str) -> String {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    if words.is_empty() {
        "section".to_owned()
    } else {
        words.join("-")
    }
}

fn unique(id: String, taken: &mut BTreeMap<String, u32>) -> String {
    let mut candidate = id.clone();
    while taken.contains_key(&candidate) {
        let number = taken.entry(id.clone()).or_default();
        *number += 1;
        candidate = format!("{id}-{number}");
    }
    taken.insert(candidate.clone(), 0);
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_get_ids_that_no_other_has() {
        let page = page("## Set up\n\n## Set `up`!\n\n## Set up 1\n\n## ✂\n");
        let ids: Vec<&str> = page
            .headings
            .iter()
            .map(|heading| heading.id.as_str())
            .collect();
        assert_eq!(ids, ["set-up", "set-up-1", "set-up-1-1", "section"]);
        assert!(
            page.html
                .contains(r#"<h2 id="set-up-1">Set <code>up</code>!</h2>"#),
            "{}",
            page.html
        );
    }

    #[test]
    fn the_title_is_the_first_heading_of_the_highest_level() {
        assert_eq!(page("### a\n\n# b\n\n# c\n").title.as_deref(), Some("b"));
        assert_eq!(page("no heading").title, None);
    }

    #[test]
    fn nothing_that_runs_comes_through() {
        for (markdown, harmful) in [
            ("<script>x</script>", "<script"),
            ("a <img src=x onerror=y> b", "<img"),
            ("[a](javascript:x)", "javascript"),
            ("[a](<java\tscript:x>)", "script:"),
            ("![a](data:text/html;base64,xx)", "data:"),
        ] {
            let html = page(markdown).html;
            assert!(!html.contains(harmful), "{html}");
        }
    }

    #[test]
    fn honest_links_and_tables_stay() {
        let html = page("[a](https://x.y/a:b) [b](../c.md#d:e)\n\n| a |\n|---|\n| ~~b~~ |\n").html;
        assert!(
            html.contains(r#"<a href="https://x.y/a:b">"#)
                && html.contains(r#"<a href="../c.md#d:e">"#)
        );
        assert!(html.contains("<td><del>b</del></td>"), "{html}");
    }
}
