//! Compares the public API, parsed from the source, with a committed list, so that a review shows every change of it.
//!
//! After an intended change run `UPDATE_PUBLIC_API=1 cargo test --test public_api`, and review the difference.
//!
//! Every `pub` item is listed under its defining module; the lint `unreachable_pub` ensures that all of them are reachable.

#![expect(clippy::arithmetic_side_effects, reason = "indexes of tokens")]
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test whose setup fails must fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Visibility};

const SNAPSHOT: &str = "tests/data/public_api.txt";

#[test]
fn the_public_api_matches_the_committed_list() {
    let root = root();
    let actual = List::of_crate().text();
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

#[test]
fn the_list_contains_generated_and_foreign_implementations() {
    let list = List::of_crate().text();
    for implementation in [
        "tower_bearer::claims::values: impl<'c> IntoIterator for &Audience<'c>",
        "tower_bearer::claims::values: impl Eq for AuthenticationMethods<'_>",
        "tower_bearer::requirement::value: impl From<u64> for ClaimValue",
        "tower_bearer::middleware::future: struct ResponseFuture<S, B> where S: Service<Request<B>>,",
        "tower_bearer::keys::error: skip_reasons!: NotAnObject = \"not_an_object\"",
        "tower_bearer::clock: impl TryFrom<Timestamp> for SystemTime",
        "tower_bearer::clock: impl<C: Clock + ?Sized> Clock for Arc<C>",
        "tower_bearer::keys::set: impl From<KeySet> for Result<KeySet, KeyError>",
        "tower_bearer::keys::interop: impl TryFrom<Algorithm> for jsonwebtoken_12::Algorithm",
    ] {
        assert!(list.lines().any(|line| line == implementation), "{implementation}");
    }
    // Implementations for private types are no part of the API.
    assert!(!list.contains("MemberReader"));
}

#[test]
fn public_types_have_at_most_two_type_parameters() {
    let list = List::of_crate();
    assert!(list.type_parameters.len() > 100, "the types are found");
    let found: Vec<_> = list.type_parameters.iter().filter(|(_, count)| *count > 2).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// The variants with named fields that are not `#[non_exhaustive]`: no field is ever added to one of them.
const FIXED_VARIANTS: &[&str] = &[
    // The implementations of a trait create the value.
    "KeyStoreError::Io",
    "ReplayError::Full",
    // The fields are the members of the claim `cnf`.
    "SenderConstraint::Both",
    "SenderConstraint::Certificate",
    "SenderConstraint::Dpop",
    // The fields are all that distinguishes one value from another, so tests of applications compare the whole value.
    "ClaimError::IdToken",
    "ClaimError::Required",
    "IntrospectionError::Discovery",
    "IntrospectionError::MalformedMember",
    "IntrospectionError::Network",
    "IntrospectionError::Signed",
    "IntrospectionError::Status",
    "IntrospectionRejection::Contradicted",
    "IssuerError::TenantUnavailable",
    "IssuerError::Unknown",
    "KeyError::TooManyKeys",
    "KeyError::Unusable",
    "KeyNotFoundError::Unknown",
    "RefreshError::Network",
    "RefreshError::Status",
    "Rejection::Algorithm",
    "Rejection::Revoked",
    "SecretError::TooShort",
    "SettingErrorKind::DiscoveryUrl",
    "SettingErrorKind::ImpliedScopeCycle",
    "SettingErrorKind::NoUsableKey",
    "TokenError::DuplicateMember",
    "TokenError::Empty",
    "TokenError::Encoding",
    "TokenError::Json",
    "TokenError::ReservedMember",
    "TokenError::TooDeep",
    "TokenError::TooLong",
];

/// The enums that are not `#[non_exhaustive]`: a further variant has to break the build of every caller, since a wildcard arm could
/// accept a request.
const FIXED_ENUMS: &[&str] = &["Outcome", "Recording"];

/// Otherwise a new variant or field would break the applications that match the enum.
#[test]
fn public_enums_and_variants_can_grow_unless_they_are_listed() {
    let text = List::of_crate().text();
    let enums = text.lines().filter_map(|line| Some(line.split_once(": enum ")?.1)).filter(|rest| !rest.contains(": "));
    let enums = enums.map(|name| name.split('<').next().unwrap_or_default());
    assert_eq!(enums.collect::<Vec<_>>(), FIXED_ENUMS);
    let variants = text.lines().filter_map(|line| line.split_once(": enum ")?.1.split_once(": "));
    // A variant with named fields is like `Status(status: u16)`.
    let open = variants.filter(|(_, variant)| variant.contains(": ") && !variant.starts_with("non_exhaustive "));
    let open = open.map(|(owner, variant)| format!("{owner}::{}", variant.split('(').next().unwrap_or_default()));
    let listed: BTreeSet<String> = FIXED_VARIANTS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(open.collect::<BTreeSet<String>>(), listed);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The lines of the list, one per item.
#[derive(Default)]
struct List {
    lines: Vec<String>,
    /// The public types and traits.
    public: BTreeSet<String>,
    /// The macros that declare public enums.
    declarations: BTreeSet<String>,
    /// All types of the crate.
    local: BTreeSet<String>,
    /// The number of type parameters of each public type.
    type_parameters: Vec<(String, usize)>,
    implementations: Vec<Implementation>,
}

/// An implementation of a trait.
struct Implementation {
    /// The type without its arguments and references.
    subject: String,
    /// The identifiers in the trait and the type.
    mentioned: Vec<String>,
    line: String,
}

impl Implementation {
    /// Returns whether the implementation is for a public type, or for a foreign type or a parameter and mentions a public type or
    /// trait.
    fn is_public(&self, list: &List) -> bool {
        let is_foreign = !list.local.contains(&self.subject);
        list.public.contains(&self.subject)
            || is_foreign && self.mentioned.iter().any(|name| list.public.contains(name))
    }
}

impl List {
    fn of_crate() -> Self {
        let mut list = Self::default();
        list.module(&root().join("src/lib.rs"), &root().join("src"), "tower_bearer");
        list
    }

    fn text(mut self) -> String {
        let public = self.implementations.iter().filter(|implementation| implementation.is_public(&self));
        let public: Vec<String> = public.map(|implementation| implementation.line.clone()).collect();
        self.lines.extend(public);
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
        let macros: BTreeMap<String, Repetition> = parsed.items.iter().filter_map(Repetition::definition).collect();
        for item in &parsed.items {
            match item {
                Item::Macro(call) => {
                    expand(call, &macros).iter().for_each(|item| self.item(item, folder, path));
                    self.declaration(call, path);
                }
                item => self.item(item, folder, path),
            }
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
                let name = format!("struct {}{}", structure.ident, declared(&structure.generics));
                self.add(path, &format!("{}{name}", non_exhaustive(&structure.attrs)));
                self.public_type(&structure.ident, &structure.generics);
                self.derived(path, &structure.ident.to_string(), &structure.attrs);
                self.fields(path, &structure.ident.to_string(), &structure.fields);
            }
            Item::Enum(choice) if is_public(&choice.vis) => {
                self.add(
                    path,
                    &format!("{}enum {}{}", non_exhaustive(&choice.attrs), choice.ident, declared(&choice.generics)),
                );
                self.public_type(&choice.ident, &choice.generics);
                self.derived(path, &choice.ident.to_string(), &choice.attrs);
                for variant in &choice.variants {
                    let fields: Vec<String> = variant.fields.iter().map(field).collect();
                    let marked = non_exhaustive(&variant.attrs);
                    self.add(path, &format!("enum {}: {marked}{}({})", choice.ident, variant.ident, fields.join(", ")));
                }
            }
            Item::Struct(syn::ItemStruct { ident, .. }) | Item::Enum(syn::ItemEnum { ident, .. }) => {
                self.local.insert(ident.to_string());
            }
            Item::Trait(definition) if is_public(&definition.vis) => {
                self.public.insert(definition.ident.to_string());
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
        let (parameters, _, bounds) = block.generics.split_for_impl();
        let (parameters, subject) = (plain(&parameters), plain(&block.self_ty));
        if let Some((negative, name, _)) = &block.trait_ {
            let not = if negative.is_some() { "!" } else { "" };
            let line = format!("{path}: impl{parameters} {not}{} for {subject} {}", plain(name), plain(&bounds));
            let of_both = format!("{} {subject}", plain(name));
            let mentioned = of_both.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            self.implementations.push(Implementation {
                subject: base(&block.self_ty),
                mentioned: mentioned.map(str::to_owned).collect(),
                line: line.trim_end().to_owned(),
            });
            return;
        }
        let subject = format!("impl{parameters} {subject} {}", plain(&bounds));
        let subject = subject.trim_end();
        for inner in &block.items {
            match inner {
                ImplItem::Fn(function) if is_public(&function.vis) => {
                    self.add(path, &format!("{subject}: {}{}", plain(&function.sig), condition(&function.attrs)));
                }
                ImplItem::Const(constant) if is_public(&constant.vis) => {
                    self.add(path, &format!("{subject}: const {}: {}", constant.ident, plain(&constant.ty)));
                }
                _ => {}
            }
        }
    }

    /// Adds a macro that declares a public enum and is not expanded: its definition as one line, and one line for each variant.
    fn declaration(&mut self, call: &syn::ItemMacro, path: &str) {
        let text = plain(&call.mac.tokens);
        let name = call.ident.as_ref().map_or_else(|| plain(&call.mac.path), ToString::to_string);
        if call.ident.is_some() {
            let declared = text.split("pub enum ").skip(1).filter_map(|rest| rest.split(' ').next());
            for declared in declared {
                self.public.insert(declared.to_owned());
                self.local.insert(declared.to_owned());
                self.lines.push(format!("{path}: macro {name}: {text}"));
                self.declarations.insert(name.clone());
            }
        } else if self.declarations.contains(&name) {
            let tokens: Vec<String> = call.mac.tokens.clone().into_iter().map(|token| token.to_string()).collect();
            let is_doc = |at: usize| tokens[at] == "#" || at > 0 && tokens[at - 1] == "#";
            let code: Vec<&str> = (0..tokens.len()).filter(|at| !is_doc(*at)).map(|at| &*tokens[at]).collect();
            for variant in code.split(|token| *token == ";").filter(|variant| !variant.is_empty()) {
                // Without the text, which is not part of the API.
                let variant = variant.split(|token| *token == ",").next().unwrap_or_default();
                self.add(path, &format!("{name}!: {}", variant.join(" ")));
            }
        }
    }

    fn public_type(&mut self, name: &syn::Ident, generics: &syn::Generics) {
        let name = name.to_string();
        self.type_parameters.push((name.clone(), generics.type_params().count()));
        self.local.insert(name.clone());
        self.public.insert(name);
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

/// A macro of one file that repeats its body for each argument: `($($name:ident),+) => { $( body )+ }`.
struct Repetition {
    /// `$name`
    parameter: String,
    body: String,
}

impl Repetition {
    /// Returns the definition of a macro and its name, if it has this form.
    fn definition(item: &Item) -> Option<(String, Self)> {
        let Item::Macro(syn::ItemMacro { ident: Some(name), mac, .. }) = item else { return None };
        let text = mac.tokens.to_string().replace("$ ", "$");
        let repetition = Self::parse(&text);
        let is_listed = repetition.is_some() || text.contains("pub enum ") || !text.contains(" for ");
        assert!(is_listed, "a macro of a form that is not expanded: {name}");
        Some((name.to_string(), repetition?))
    }

    fn parse(text: &str) -> Option<Self> {
        let (matcher, transcriber) = text.split_once("=>")?;
        let parameter = matcher.trim().strip_prefix("($($")?;
        if parameter.contains('$') {
            return None;
        }
        let parameter = parameter.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
        let (_, repeated) = transcriber.split_once("$(")?;
        let (repeated, _) = repeated.rsplit_once('+')?;
        let (body, _) = repeated.rsplit_once(')')?;
        Some(Self { parameter: format!("${parameter}"), body: body.to_owned() })
    }

    fn expand(&self, arguments: &str) -> String {
        arguments.split(',').map(|argument| self.body.replace(&self.parameter, argument.trim())).collect()
    }
}

/// Returns the items that a call of a macro of the same file, or of `pin_project`, declares.
fn expand(call: &syn::ItemMacro, macros: &BTreeMap<String, Repetition>) -> Vec<Item> {
    let name = plain(&call.mac.path);
    let text = match macros.get(&name) {
        Some(repetition) if call.ident.is_none() => repetition.expand(&call.mac.tokens.to_string()),
        None if name == "pin_project" => call.mac.tokens.to_string(),
        Some(_) | None => return Vec::new(),
    };
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}")).items
}

/// Returns the name of a type without references and arguments.
fn base(subject: &syn::Type) -> String {
    match subject {
        syn::Type::Reference(reference) => base(&reference.elem),
        syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default(),
        other => plain(other),
    }
}

/// Returns the parameters of a type and their bounds.
fn declared(generics: &syn::Generics) -> String {
    format!("{} {}", plain(generics), plain(&generics.where_clause)).trim_end().to_owned()
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
        ("? ", "?"),
        (",)", ")"),
        (", >", ">"),
        (",>", ">"),
    ] {
        text = text.replace(spaced, tight);
    }
    text
}
