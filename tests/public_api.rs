//! Compares the public API, parsed from the source, with a committed list, so that a review shows every change of it.
//!
//! After an intended change run `UPDATE_PUBLIC_API=1 cargo test --test public_api`, and review the difference.
//!
//! Every `pub` item is listed under its defining module; the lint `unreachable_pub` ensures that all of them are reachable.

#![expect(clippy::expect_used, clippy::panic, reason = "a test whose setup fails must fail")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Visibility};

const SNAPSHOT: &str = "tests/data/public_api.txt";

#[test]
fn the_public_api_matches_the_committed_list() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut list = List::default();
    list.module(&root.join("src/lib.rs"), &root.join("src"), "tower_bearer");
    let actual = list.text();
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        fs::write(root.join(SNAPSHOT), &actual).expect("the list is written");
        return;
    }
    let committed = fs::read_to_string(root.join(SNAPSHOT)).expect("the committed list");
    let removed =
        committed.lines().filter(|line| !actual.lines().any(|other| other == *line)).map(|line| format!("- {line}"));
    let added =
        actual.lines().filter(|line| !committed.lines().any(|other| other == *line)).map(|line| format!("+ {line}"));
    let difference: Vec<String> = removed.chain(added).collect();
    assert!(
        difference.is_empty(),
        "the public API has changed; if intended, run UPDATE_PUBLIC_API=1 cargo test --test public_api\n{}",
        difference.join("\n")
    );
}

/// The lines of the list, one per item. Implementations are listed only for the public types in `types`.
#[derive(Default)]
struct List {
    lines: Vec<String>,
    types: BTreeSet<String>,
    implementations: Vec<(String, String)>,
}

impl List {
    fn text(mut self) -> String {
        let types = &self.types;
        let public = self.implementations.into_iter().filter(|(subject, _)| types.contains(subject));
        self.lines.extend(public.map(|(_, line)| line));
        self.lines.sort();
        self.lines.dedup();
        self.lines.iter().fold(String::new(), |mut text, line| {
            let _infallible = writeln!(text, "{line}");
            text
        })
    }

    /// Adds the items of a file, and of the modules that it declares in `folder`.
    fn module(&mut self, file: &Path, folder: &Path, path: &str) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for item in &parsed.items {
            self.item(item, folder, path);
        }
    }

    fn item(&mut self, item: &Item, folder: &Path, path: &str) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            Item::Mod(module) => {
                let name = module.ident.to_string();
                if is_public(&module.vis) {
                    self.add(path, &format!("mod {name}{}", condition(&module.attrs)));
                }
                let inner = format!("{path}::{name}");
                let (flat, nested) = (folder.join(format!("{name}.rs")), folder.join(&name));
                if module.content.is_none() {
                    let file = if flat.exists() { flat } else { nested.join("mod.rs") };
                    self.module(&file, &nested, &inner);
                }
            }
            Item::Use(used) if is_public(&used.vis) => {
                self.add(path, &format!("use {}{}", plain(&used.tree), condition(&used.attrs)));
            }
            Item::Const(constant) if is_public(&constant.vis) => {
                self.add(path, &format!("const {}: {}", constant.ident, plain(&constant.ty)));
            }
            Item::Type(alias) if is_public(&alias.vis) => {
                self.add(path, &format!("type {}{} = {}", alias.ident, plain(&alias.generics), plain(&alias.ty)));
            }
            Item::Fn(function) if is_public(&function.vis) => self.add(path, &plain(&function.sig)),
            Item::Struct(structure) if is_public(&structure.vis) => {
                let name = format!("struct {}{}", structure.ident, plain(&structure.generics));
                self.add(path, &format!("{}{name}", non_exhaustive(&structure.attrs)));
                self.types.insert(structure.ident.to_string());
                self.derived(path, &structure.ident.to_string(), &structure.attrs);
                self.fields(path, &structure.ident.to_string(), &structure.fields);
            }
            Item::Enum(choice) if is_public(&choice.vis) => {
                self.add(
                    path,
                    &format!("{}enum {}{}", non_exhaustive(&choice.attrs), choice.ident, plain(&choice.generics)),
                );
                self.types.insert(choice.ident.to_string());
                self.derived(path, &choice.ident.to_string(), &choice.attrs);
                for variant in &choice.variants {
                    let fields: Vec<String> = variant.fields.iter().map(field).collect();
                    let marked = non_exhaustive(&variant.attrs);
                    self.add(path, &format!("enum {}: {marked}{}({})", choice.ident, variant.ident, fields.join(", ")));
                }
            }
            Item::Trait(definition) if is_public(&definition.vis) => {
                let bounds = plain(&definition.supertraits);
                self.add(path, &format!("trait {}{}: {bounds}", definition.ident, plain(&definition.generics)));
                for inner in &definition.items {
                    self.add(path, &format!("trait {}: {}", definition.ident, trait_item(inner)));
                }
            }
            Item::Impl(block) if !is_for_tests(&block.attrs) => self.block(block, path),
            _ => {}
        }
    }

    /// Adds a trait implementation as one line, and an inherent implementation with one line per public item.
    fn block(&mut self, block: &syn::ItemImpl, path: &str) {
        let (_, _, bounds) = block.generics.split_for_impl();
        let subject = plain(&block.self_ty);
        if let Some((negative, name, _)) = &block.trait_ {
            let not = if negative.is_some() { "!" } else { "" };
            let line = format!("{path}: impl {not}{} for {subject} {}", plain(name), plain(&bounds));
            let base = subject.split(['<', ' ']).next().unwrap_or_default().to_owned();
            self.implementations.push((base, line.trim_end().to_owned()));
            return;
        }
        for inner in &block.items {
            match inner {
                ImplItem::Fn(function) if is_public(&function.vis) => {
                    self.add(path, &format!("impl {subject}: {}{}", plain(&function.sig), condition(&function.attrs)));
                }
                ImplItem::Const(constant) if is_public(&constant.vis) => {
                    self.add(path, &format!("impl {subject}: const {}: {}", constant.ident, plain(&constant.ty)));
                }
                _ => {}
            }
        }
    }

    fn fields(&mut self, path: &str, owner: &str, fields: &Fields) {
        for public in fields.iter().filter(|field| is_public(&field.vis)) {
            self.add(path, &format!("struct {owner}: {}", field(public)));
        }
    }

    fn derived(&mut self, path: &str, owner: &str, attributes: &[Attribute]) {
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
            let traits = attribute.parse_args_with(Punctuated::<syn::Path, syn::Token![,]>::parse_terminated);
            for name in traits.expect("a derive list") {
                self.add(path, &format!("impl {} for {owner} (derived)", plain(&name)));
            }
        }
    }

    fn add(&mut self, path: &str, text: &str) {
        self.lines.push(format!("{path}: {}", text.trim_end()));
    }
}

/// Returns an item of a trait; `(provided)` marks a function that implementations need not have.
fn trait_item(item: &TraitItem) -> String {
    match item {
        TraitItem::Fn(function) if function.default.is_some() => format!("{} (provided)", plain(&function.sig)),
        TraitItem::Fn(function) => plain(&function.sig),
        other => plain(other),
    }
}

fn field(field: &syn::Field) -> String {
    match &field.ident {
        Some(name) => format!("{name}: {}", plain(&field.ty)),
        None => plain(&field.ty),
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| plain(attribute) == "#[cfg(test)]")
}

/// Returns the `cfg` attributes of an item as text.
fn condition(attributes: &[Attribute]) -> String {
    let conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    conditions.map(|attribute| format!(" {}", plain(attribute))).collect()
}

fn non_exhaustive(attributes: &[Attribute]) -> &'static str {
    let marked = attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"));
    if marked { "non_exhaustive " } else { "" }
}

/// Returns tokens as text with conventional spaces.
fn plain(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (spaced, tight) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" <", "<"),
        (" >", ">"),
        (" ,", ","),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("& ", "&"),
        (" :", ":"),
        ("# [", "#["),
        (" ;", ";"),
        ("' ", "'"),
        (" [", "["),
        ("[ ", "["),
        (" ]", "]"),
        ("->", "-> "),
        ("-> (", "-> ("),
        ("->  ", "-> "),
        ("=(", "= ("),
        (",)", ")"),
        (", >", ">"),
        (",>", ">"),
    ] {
        text = text.replace(spaced, tight);
    }
    text
}
