//! Inspection of a requirement: its scopes, and the alternatives that meet it.

use std::fmt;
use std::vec;

use crate::requirement::node::Node;
use crate::requirement::{Requirement, names};

impl Requirement {
    /// Returns every scope that the requirement names, in the order of the requirement and without duplicates, for example for
    /// the scopes of a security scheme in OpenAPI. A scope of only one alternative is included.
    ///
    /// ```
    /// use tower_bearer::Requirement;
    ///
    /// let requirement = Requirement::any_of([Requirement::scope("admin"), Requirement::scope_or_permission("write:orders")]);
    /// assert_eq!(requirement.scopes().collect::<Vec<_>>(), ["admin", "write:orders"]);
    /// ```
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let mut parts = Vec::new();
        collect(&self.0, &mut parts);
        distinct(&parts, Part::scope)
    }

    /// Returns each way to meet the requirement. A token that meets all parts of one alternative meets the requirement.
    ///
    /// The number of alternatives is the product over the parts of [`all_of`](Self::all_of), so a requirement that is read from
    /// outside the program can have very many. The iterator creates them one by one.
    ///
    /// ```
    /// use tower_bearer::Requirement;
    ///
    /// let requirement = Requirement::all_of([
    ///     Requirement::scope("read:orders"),
    ///     Requirement::any_of([Requirement::scope("admin"), Requirement::permission("audit")]),
    /// ]);
    /// let scopes = requirement.alternatives().map(|alternative| alternative.scopes().collect::<Vec<_>>().join(" "));
    /// assert_eq!(scopes.collect::<Vec<_>>(), ["read:orders admin", "read:orders"]);
    /// let texts = requirement.alternatives().map(|alternative| alternative.to_string());
    /// assert_eq!(texts.last().as_deref(), Some("scope read:orders and permission audit"));
    /// ```
    pub fn alternatives(&self) -> impl Iterator<Item = Alternative<'_>> {
        (0..count(&self.0)).map(|at| {
            let mut parts = Vec::new();
            select(&self.0, at, &mut parts);
            Alternative { parts }
        })
    }
}

/// One way to meet a [`Requirement`]: the parts that a token must meet together. `Display` writes all of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Alternative<'r> {
    parts: Vec<Part<'r>>,
}

impl<'r> Alternative<'r> {
    /// Returns the scopes that a token needs for this alternative, without duplicates.
    pub fn scopes(&self) -> impl Iterator<Item = &'r str> + use<'r> {
        distinct(&self.parts, Part::scope)
    }

    /// Returns the permissions that a token needs for this alternative, without duplicates.
    pub fn permissions(&self) -> impl Iterator<Item = &'r str> + use<'r> {
        distinct(&self.parts, Part::permission)
    }
}

/// The other parts of an alternative, as text.
impl Alternative<'_> {
    /// Returns the text of each part that is neither a scope nor a permission, such as `claim tier is "gold"` or the name of a
    /// predicate.
    ///
    /// A token needs these parts, too: an alternative without scopes and permissions is met by every token only if it has no other
    /// parts either, which is never the case.
    ///
    /// ```
    /// use tower_bearer::Requirement;
    ///
    /// let requirement = Requirement::all_of([Requirement::scope("pay"), Requirement::claim_equals("tier", "gold")]);
    /// let others: Vec<_> = requirement.alternatives().flat_map(|one| one.others().collect::<Vec<_>>()).collect();
    /// assert_eq!(others, [r#"claim tier is "gold""#]);
    /// ```
    pub fn others(&self) -> impl Iterator<Item = String> {
        self.parts.iter().filter_map(|part| match part {
            Part::Other(node) => Some(node.to_string()),
            Part::Scope(_) | Part::Permission(_) => None,
        })
    }
}

impl fmt::Display for Alternative<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            f.write_str(if at > 0 { " and " } else { "" })?;
            match part {
                Part::Scope(name) => write!(f, "scope {name}")?,
                Part::Permission(name) => write!(f, "permission {name}")?,
                Part::Other(node) => write!(f, "{node}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Alternative<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A part of a requirement that has no alternatives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part<'r> {
    Scope(&'r str),
    Permission(&'r str),
    Other(&'r Node),
}

impl<'r> Part<'r> {
    fn scope(self) -> Option<&'r str> {
        match self {
            Self::Scope(name) => Some(name),
            Self::Permission(_) | Self::Other(_) => None,
        }
    }

    fn permission(self) -> Option<&'r str> {
        match self {
            Self::Permission(name) => Some(name),
            Self::Scope(_) | Self::Other(_) => None,
        }
    }
}

/// Collects the parts of all alternatives.
fn collect<'r>(node: &'r Node, parts: &mut Vec<Part<'r>>) {
    match node {
        Node::All(nodes) | Node::Any(nodes) => nodes.nodes().for_each(|node| collect(node, parts)),
        _ => (0..count(node)).for_each(|at| select(node, at, parts)),
    }
}

/// Returns the number of alternatives, at most `usize::MAX`.
fn count(node: &Node) -> usize {
    match node {
        Node::ScopeOrPermission(_) => 2,
        Node::Any(nodes) => nodes.nodes().map(count).fold(0, usize::saturating_add),
        Node::All(nodes) => product(nodes.nodes()),
        _ => 1,
    }
}

/// Returns the number of combinations of the alternatives of several nodes.
fn product<'n>(nodes: impl Iterator<Item = &'n Node>) -> usize {
    nodes.map(count).fold(1, usize::saturating_mul)
}

/// Adds the parts of the alternative number `at`. In a combination of all nodes, the number changes the last one first.
fn select<'r>(node: &'r Node, mut at: usize, parts: &mut Vec<Part<'r>>) {
    match node {
        Node::Scope(name) => parts.push(Part::Scope(name)),
        Node::ScopeOrPermission(name) if at == 0 => parts.push(Part::Scope(name)),
        Node::Permission(name) | Node::ScopeOrPermission(name) => parts.push(Part::Permission(name)),
        Node::Any(nodes) => {
            for node in nodes.nodes() {
                match at.checked_sub(count(node)) {
                    None => return select(node, at, parts),
                    Some(rest) => at = rest,
                }
            }
        }
        Node::All(nodes) => {
            for (position, node) in nodes.nodes().enumerate() {
                let after = product(nodes.nodes().skip(position.saturating_add(1)));
                select(node, at.checked_div(after).unwrap_or(0), parts);
                at = at.checked_rem(after).unwrap_or(0);
            }
        }
        _ => parts.push(Part::Other(node)),
    }
}

/// Returns the names that `select` finds, without duplicates.
fn distinct<'r>(parts: &[Part<'r>], select: fn(Part<'r>) -> Option<&'r str>) -> vec::IntoIter<&'r str> {
    names::distinct(parts.iter().copied().filter_map(select)).into_iter()
}
