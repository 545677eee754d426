//! The text of a requirement, for logs and API descriptions.

use std::fmt;

use crate::requirement::Requirement;
use crate::requirement::node::{Node, Parts};

/// Writes the requirement as text, such as `scope write:orders or permission write:orders`. A combination inside another one is
/// in parentheses. The text contains the names and values with which the requirement was created, and nothing from a token.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Writes the same text as `Display`.
impl fmt::Debug for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(name) => write!(f, "scope {name}"),
            Self::Permission(name) => write!(f, "permission {name}"),
            Self::ScopeOrPermission(name) => write!(f, "scope or permission {name}"),
            Self::Client(ids) => write!(f, "client {}", ids.alternatives()),
            Self::OrganizationId(id) => write!(f, "organization {id}"),
            Self::OrganizationName(name) => write!(f, "organization named {name}"),
            Self::Claim(path, comparison) => write!(f, "claim {path} {comparison}"),
            Self::Predicate(predicate) => f.write_str(&predicate.name),
            Self::Acr(values) => write!(f, "acr {}", values.alternatives()),
            Self::AuthenticationAge(age) => write!(f, "authentication within the last {age:?}"),
            Self::SenderConstrained => f.write_str("sender-constrained token"),
            Self::All(parts) => write_parts(f, parts, " and "),
            Self::Any(parts) => write_parts(f, parts, " or "),
        }
    }
}

fn write_parts(f: &mut fmt::Formatter<'_>, parts: &Parts, separator: &str) -> fmt::Result {
    let is_single = parts.nodes().nth(1).is_none();
    for (at, node) in parts.nodes().enumerate() {
        if at > 0 {
            f.write_str(separator)?;
        }
        match node {
            Node::All(_) | Node::Any(_) | Node::ScopeOrPermission(_) if !is_single => write!(f, "({node})")?,
            _ => write!(f, "{node}")?,
        }
    }
    Ok(())
}
