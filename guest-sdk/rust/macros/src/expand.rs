//! What the attribute writes: the function as it was, and its entry in the module's registry.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, FnArg, ItemFn, Lit, Meta, ReturnType, Signature, Type};

use crate::options::Options;
use crate::settings;

/// Expands the attribute; what is wrong with it becomes a compile error beside the untouched function, so that it
/// is the only one.
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(_) => return with_error(&Error::new_spanned(&item, "a task is a function"), &item),
    };
    match entry(attribute, &function) {
        Ok(entry) => quote! { #function #entry },
        Err(error) => with_error(&error, &item),
    }
}

fn with_error(error: &Error, item: &TokenStream) -> TokenStream {
    let error = error.to_compile_error();
    quote! { #item #error }
}

fn entry(attribute: TokenStream, function: &ItemFn) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(attribute)?;
    let shape = Shape::of(&function.sig)?;
    let name = match &options.name {
        Some(name) => name.value(),
        None => name_of(&function.sig)?,
    };
    let description = options
        .description
        .as_ref()
        .map_or_else(|| doc_of(&function.attrs), syn::LitStr::value);
    let (keys, values): (Vec<_>, Vec<_>) = options.defaults.iter().cloned().unzip();
    let ident = &function.sig.ident;
    // The spans lead a type error to the type that causes it, not to the attribute.
    let run = quote_spanned! {shape.input.span()=> |ctx, payload| ::stem_guest::__private::run(#ident, ctx, payload) };
    let schemas = if options.has_no_schema {
        quote! { ::stem_guest::__private::Schemas::default }
    } else {
        quote_spanned! {shape.output.span()=> || ::stem_guest::__private::schemas(#ident) }
    };
    let conditions = function
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    Ok(quote! {
        #(#conditions)*
        const _: () = {
            ::stem_guest::__private::inventory::submit! {
                ::stem_guest::__private::Task {
                    name: #name,
                    description: #description,
                    defaults: &[#((#keys, #values)),*],
                    schemas: #schemas,
                    run: #run,
                }
            }
        };
    })
}

/// The parts of a task's signature that its entry needs.
struct Shape<'a> {
    input: &'a Type,
    output: &'a Type,
}

impl<'a> Shape<'a> {
    fn of(signature: &'a Signature) -> syn::Result<Self> {
        if let Some(token) = &signature.asyncness {
            return Err(Error::new_spanned(
                token,
                "a task is a plain function, not an `async` one",
            ));
        }
        if !signature.generics.params.is_empty() {
            return Err(Error::new_spanned(
                &signature.generics,
                "a task has no generic parameters",
            ));
        }
        let ReturnType::Type(_, output) = &signature.output else {
            return Err(Error::new_spanned(
                signature,
                "a task returns `Result<Output, Interruption>`",
            ));
        };
        let inputs: Vec<_> = signature.inputs.iter().collect();
        let [FnArg::Typed(context), FnArg::Typed(input)] = inputs.as_slice() else {
            return Err(two_arguments(signature));
        };
        match (&*context.ty, &*input.ty) {
            (Type::Reference(_), Type::Reference(borrowed)) => Err(Error::new_spanned(
                borrowed,
                "a task owns its input: `String` instead of `&str`, `Vec<T>` instead of `&[T]`",
            )),
            (Type::Reference(_), input) => Ok(Self { input, output }),
            _ => Err(two_arguments(signature)),
        }
    }
}

fn two_arguments(signature: &Signature) -> Error {
    let message = "a task takes two arguments: `ctx: &Context` and its input";
    Error::new_spanned(&signature.ident, message)
}

fn name_of(signature: &Signature) -> syn::Result<String> {
    let name = signature.ident.unraw().to_string().replace('_', "-");
    settings::name(&name).map_err(|wanted| {
        Error::new_spanned(&signature.ident, format!("set `name`: it takes {wanted}"))
    })?;
    Ok(name)
}

fn doc_of(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes.iter().filter_map(doc_line).collect();
    let lines: Vec<&str> = lines
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n").trim().to_owned()
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = &pair.value
    else {
        return None;
    };
    pair.path.is_ident("doc").then(|| text.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(attribute: &str, item: &str) -> String {
        let tokens = |text: &str| text.parse::<TokenStream>().expect("tokens");
        task(tokens(attribute), tokens(item)).to_string()
    }

    const GOOD: &str = "/// Counts.\n///\n/// Words.\nfn word_count(ctx: &Context, input: Input) -> Result<u32, E> {}";

    #[test]
    fn name_and_description_come_from_the_function() {
        let entry = expanded("", GOOD);
        assert!(entry.contains(r#"name : "word-count""#), "{entry}");
        assert!(
            entry.contains(r#"description : "Counts.\n\nWords.""#),
            "{entry}"
        );
    }

    #[test]
    fn the_attribute_wins_over_the_function() {
        let entry = expanded(r#"name = "wc", description = "Hm.", priority = 3"#, GOOD);
        assert!(
            entry.contains(r#"name : "wc""#) && entry.contains(r#"description : "Hm.""#),
            "{entry}"
        );
        assert!(entry.contains(r#"("priority" , "3")"#), "{entry}");
    }

    #[test]
    fn what_is_no_task_is_told_what_one_is() {
        for (item, said) in [
            ("struct Task;", "a task is a function"),
            (
                "async fn f(ctx: &Context, i: u8) -> R {}",
                "a plain function",
            ),
            (
                "fn f<T>(ctx: &Context, i: T) -> R {}",
                "no generic parameters",
            ),
            ("fn f(i: u8) -> R {}", "two arguments"),
            ("fn f(ctx: Context, i: u8) -> R {}", "two arguments"),
            (
                "fn f(ctx: &Context, i: &str) -> R {}",
                "a task owns its input",
            ),
            ("fn f(ctx: &Context, i: u8) {}", "a task returns"),
        ] {
            assert!(expanded("", item).contains(said), "{item}");
        }
    }
}
