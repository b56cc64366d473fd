//! Origins in every form, and what is none.

use proptest::prelude::*;

use super::*;

fn origin(text: &str) -> Origin {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    let refused: Result<Origin, OriginError> = text.parse();
    refused.expect_err(text).to_string()
}

/// S6
#[test]
fn an_origin_is_read_in_every_form_and_written_in_one() {
    for (text, written) in [
        ("api.example.com", "https://api.example.com"),
        ("HTTPS://API.Example.com:443", "https://api.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("10.0.0.5:8080", "https://10.0.0.5:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("[2001:DB8::1]", "https://[2001:db8::1]"),
        ("*.example.com:8443", "https://*.example.com:8443"),
        ("http://my_service", "http://my_service"),
    ] {
        assert_eq!(origin(text).to_string(), written);
        assert_eq!(origin(written), origin(text));
    }
}

const NONE: [(&str, &str); 25] = [
    ("", "no name of DNS"),
    ("ftp://a.example", "scheme"),
    ("https://a.example/", "path"),
    ("https://a.example?x", "path"),
    ("https://me:pw@a.example", "user"),
    ("https://a.example:0", "port"),
    ("https://a.example:+80", "port"),
    ("https://a.example:99999", "port"),
    ("::1", "port"),
    ("https://[::1", "bracket"),
    ("https://[::1]x", "bracket"),
    ("https://[10.0.0.1]", "bracket"),
    ("*", "*.example.com"),
    ("*.com", "two labels"),
    ("a.*.example.com", "beginning"),
    ("*.*.example.com", "beginning"),
    ("a*.example.com", "beginning"),
    ("bücher.example", "xn--"),
    ("-a.example", "DNS"),
    ("a..example", "DNS"),
    ("a.example.", "DNS"),
    ("a b.example", "DNS"),
    ("2130706433", "number"),
    ("127.1", "number"),
    ("0x7f.0x1", "number"),
];

/// S6
#[test]
fn what_is_no_origin_is_refused_with_the_reason() {
    for (text, problem) in NONE {
        let said = refused(text);
        assert!(said.contains(problem), "{text}: {said}");
    }
}

/// S6: a scheme, a host and a port, all three.
#[test]
fn an_origin_covers_nothing_beside_it() {
    let api = origin("https://api.example.com");
    assert!(api.covers(Scheme::Https, "API.example.com", 443));
    assert!(!api.covers(Scheme::Http, "api.example.com", 443));
    assert!(!api.covers(Scheme::Https, "api.example.com", 8443));
    for other in [
        "example.com",
        "api.example.com.",
        "x.api.example.com",
        "api.example.com.evil.org",
    ] {
        assert!(!api.covers(Scheme::Https, other, 443), "{other}");
    }
}

/// S6
#[test]
fn a_pattern_covers_names_below_its_own() {
    let below = origin("*.example.com");
    assert!(below.covers(Scheme::Https, "a.b.Example.com", 443));
    for other in ["example.com", ".example.com", "badexample.com", "com", ""] {
        assert!(!below.covers(Scheme::Https, other, 443), "{other}");
    }
}

/// S6: an address is compared as a number, and in no other form than its own.
#[test]
fn an_address_covers_itself_alone() {
    let address = origin("http://127.0.0.1");
    assert!(address.covers(Scheme::Http, "127.0.0.1", 80));
    for other in [
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "[::ffff:127.0.0.1]",
    ] {
        assert!(!address.covers(Scheme::Http, other, 80), "{other}");
    }
    let six = origin("http://[::1]");
    assert!(six.covers(Scheme::Http, "[0:0:0:0:0:0:0:1]", 80));
    assert!(!six.covers(Scheme::Http, "::1", 80));
}

proptest! {
    /// S6: whatever is written, reading it never panics, and what was read is written and read again as the same.
    #[test]
    fn any_text_is_refused_or_survives_being_written(text in "(https?://)?[*a-zA-Z0-9.:\\[\\]@/_-]{0,40}") {
        if let Ok(origin) = text.parse::<Origin>() {
            prop_assert_eq!(origin.to_string().parse::<Origin>(), Ok(origin));
        }
    }

    /// S6: a pattern covers only names that end with its own, behind a dot.
    #[test]
    fn a_pattern_covers_only_what_is_below_it(host in "[a-z.]{0,12}(example.com)?[a-z.]{0,4}") {
        let below: Origin = "*.example.com".parse().expect("an origin");
        if below.covers(Scheme::Https, &host, 443) {
            prop_assert!(host.ends_with(".example.com") && host.len() > ".example.com".len());
        }
    }
}
