//! Measures source text: how long files and functions are, how deep they nest, what their types are called, and
//! which promises their tests name.

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::workspace::name_of;

/// What was found in one file.
#[derive(Debug, Default)]
pub struct Source {
    /// Its path from the root.
    pub path: String,
    /// Its lines, all of them.
    pub lines: usize,
    /// Its first line.
    pub first_line: String,
    /// Its functions, tests left out.
    pub functions: Vec<Function>,
    /// Its tests: their lines are those between the braces.
    pub tests: Vec<Function>,
    /// The names of its types and traits, tests left out.
    pub types: Vec<String>,
    /// The inner attributes of the file, as text without spaces.
    pub attributes: Vec<String>,
    /// The documentation of each test in it, and of each promise of a contract suite.
    pub specifications: Vec<String>,
}

/// A function, as long and as deep as it is.
#[derive(Debug)]
pub struct Function {
    /// Its name, with the line that it begins at.
    pub place: String,
    /// From its signature to its last brace.
    pub lines: usize,
    /// Without `self`.
    pub parameters: usize,
    /// How deep `if`, `match` and loops lie in each other; `else if` is no deeper than its `if`.
    pub nesting: usize,
}

impl Source {
    /// Reads and measures a file.
    ///
    /// # Panics
    /// Where it cannot be read, or is no Rust.
    pub fn measure(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        Self::parse(name_of(path), &text)
    }

    fn parse(path: String, text: &str) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut measuring = Measuring {
            is_suite: path.starts_with("host/testkit/src/"),
            in_tests: is_test_file(&path),
            ..Measuring::default()
        };
        measuring.visit_file(&file);
        Self {
            lines: text.lines().count(),
            first_line: text.lines().next().unwrap_or_default().to_owned(),
            attributes: file.attrs.iter().map(text_of).collect(),
            path,
            ..measuring.found
        }
    }
}

/// Whether a file holds nothing but tests.
fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

#[derive(Default)]
struct Measuring {
    found: Source,
    is_suite: bool,
    in_tests: bool,
    depth: usize,
    deepest: usize,
}

impl Measuring {
    fn function(
        &mut self,
        attributes: &[syn::Attribute],
        sig: &syn::Signature,
        block: &syn::Block,
    ) {
        let is_test = attributes.iter().any(is_test_attribute);
        if is_test || self.is_suite {
            let documentation: Vec<String> = attributes.iter().filter_map(documentation).collect();
            self.found.specifications.push(documentation.join("\n"));
        }
        let outside = (self.depth, self.deepest);
        (self.depth, self.deepest) = (0, 0);
        visit::visit_block(self, block);
        let nesting = self.deepest;
        (self.depth, self.deepest) = outside;
        let begin = sig.span().start().line;
        let is_self = |input: &&syn::FnArg| matches!(input, syn::FnArg::Receiver(_));
        let mut function = Function {
            place: format!("{}:{begin}", sig.ident),
            lines: block.span().end().line + 1 - begin,
            parameters: sig.inputs.len() - sig.inputs.iter().filter(is_self).count(),
            nesting,
        };
        if is_test {
            let (open, close) = (block.span().start(), block.span().end());
            function.lines = (close.line - open.line).saturating_sub(1);
            self.found.tests.push(function);
        } else if !self.in_tests {
            self.found.functions.push(function);
        }
    }

    fn deeper(&mut self, inside: impl FnOnce(&mut Self)) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        inside(self);
        self.depth -= 1;
    }

    fn named(&mut self, ident: &syn::Ident) {
        if !self.in_tests {
            self.found.types.push(ident.to_string());
        }
    }
}

impl<'ast> Visit<'ast> for Measuring {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let outside = self.in_tests;
        self.in_tests |= item
            .attrs
            .iter()
            .any(|attribute| text_of(attribute) == "cfg(test)");
        visit::visit_item_mod(self, item);
        self.in_tests = outside;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.named(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.named(&item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.named(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.named(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_expr_if(&mut self, expression: &'ast syn::ExprIf) {
        self.visit_expr(&expression.cond);
        self.deeper(|inside| inside.visit_block(&expression.then_branch));
        match expression.else_branch.as_ref().map(|(_, branch)| &**branch) {
            Some(syn::Expr::If(chained)) => self.visit_expr_if(chained),
            Some(other) => self.deeper(|inside| inside.visit_expr(other)),
            None => {}
        }
    }

    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        self.visit_expr(&expression.expr);
        self.deeper(|inside| {
            expression.arms.iter().for_each(|arm| inside.visit_arm(arm));
        });
    }

    fn visit_expr_for_loop(&mut self, expression: &'ast syn::ExprForLoop) {
        self.visit_expr(&expression.expr);
        self.deeper(|inside| inside.visit_block(&expression.body));
    }

    fn visit_expr_while(&mut self, expression: &'ast syn::ExprWhile) {
        self.visit_expr(&expression.cond);
        self.deeper(|inside| inside.visit_block(&expression.body));
    }

    fn visit_expr_loop(&mut self, expression: &'ast syn::ExprLoop) {
        self.deeper(|inside| inside.visit_block(&expression.body));
    }

    /// Tests that a macro makes (`proptest!`) are seen by their documentation.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call
            .path
            .segments
            .last()
            .map(|segment| segment.ident.to_string());
        if name.as_deref() == Some("proptest") || self.in_tests || self.is_suite {
            let mut documentation = Vec::new();
            documentation_in(call.tokens.clone(), &mut documentation);
            self.found.specifications.extend(documentation);
        }
    }
}

fn text_of(attribute: &syn::Attribute) -> String {
    let path = attribute.path();
    let path = path
        .segments
        .iter()
        .map(|segment| segment.ident.to_string());
    let path = path.collect::<Vec<_>>().join("::");
    match &attribute.meta {
        syn::Meta::List(list) => format!("{path}({})", list.tokens).replace(' ', ""),
        syn::Meta::Path(_) | syn::Meta::NameValue(_) => path,
    }
}

fn is_test_attribute(attribute: &syn::Attribute) -> bool {
    let last = attribute.path().segments.last();
    last.is_some_and(|segment| segment.ident == "test")
}

fn documentation(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    let syn::Expr::Lit(literal) = &pair.value else {
        return None;
    };
    let syn::Lit::Str(text) = &literal.lit else {
        return None;
    };
    pair.path.is_ident("doc").then(|| text.value())
}

fn documentation_in(tokens: TokenStream, found: &mut Vec<String>) {
    let mut previous = String::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => documentation_in(group.stream(), found),
            TokenTree::Literal(literal) if previous == "doc=" => found.push(literal.to_string()),
            TokenTree::Ident(ident) => previous = ident.to_string(),
            TokenTree::Punct(punct) => previous.push(punct.as_char()),
            TokenTree::Literal(_) => previous.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"//! Says what it is.
#![forbid(unsafe_code)]

struct Envelope;

impl Envelope {
    /// Reads.
    fn open(&self, one: u8, two: u8) -> u8 {
        if one > two {
            for _ in 0..one {}
            one
        } else if two > 3 {
            match two { 4 => 1, _ => 2 }
        } else {
            two
        }
    }
}

#[cfg(test)]
mod tests {
    struct Hidden;

    /// B3
    #[test]
    fn a_lease_ends() {
        let _ = 1;
        let _ = 2;
    }

    proptest! {
        /// B4: whatever comes.
        #[test]
        fn nothing_changes(any in 0..3) {}
    }
}
"#;

    fn sample() -> Source {
        Source::parse("host/sample/src/lib.rs".to_owned(), SAMPLE)
    }

    #[test]
    fn a_function_is_as_long_and_as_deep_as_it_is() {
        let source = sample();
        let [function] = source.functions.as_slice() else {
            panic!("one function: {source:?}");
        };
        assert_eq!(function.place, "open:8");
        assert_eq!(
            (function.lines, function.parameters, function.nesting),
            (10, 2, 2)
        );
    }

    #[test]
    fn a_test_is_as_long_as_what_is_between_its_braces() {
        let source = sample();
        let [test] = source.tests.as_slice() else {
            panic!("one test beside the macro's: {source:?}");
        };
        assert_eq!((test.place.as_str(), test.lines), ("a_lease_ends:26", 2));
    }

    #[test]
    fn what_only_tests_see_is_no_product() {
        let source = sample();
        assert_eq!(source.types, ["Envelope"]);
        assert_eq!(source.attributes, ["doc", "forbid(unsafe_code)"]);
    }

    #[test]
    fn a_test_says_which_promise_it_guards_also_inside_a_macro() {
        let said = sample().specifications.join(";");
        assert!(said.contains("B3") && said.contains("B4"), "{said}");
    }
}
