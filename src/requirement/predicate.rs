//! A rule for claims as a function of the application.

use std::borrow::Cow;
use std::sync::Arc;

use crate::claims::Claims;

/// A function and its name.
#[derive(Clone)]
pub(super) struct Predicate {
    pub(super) name: Cow<'static, str>,
    function: Function,
}

#[derive(Clone)]
enum Function {
    Constant(fn(&Claims) -> bool),
    Shared(Arc<dyn Fn(&Claims) -> bool + Send + Sync>),
}

impl Predicate {
    pub(super) fn new(name: Cow<'static, str>, function: impl Fn(&Claims) -> bool + Send + Sync + 'static) -> Self {
        Self { name, function: Function::Shared(Arc::new(function)) }
    }

    pub(super) const fn constant(name: &'static str, function: fn(&Claims) -> bool) -> Self {
        Self { name: Cow::Borrowed(name), function: Function::Constant(function) }
    }

    pub(super) fn is_met(&self, claims: &Claims) -> bool {
        match &self.function {
            Function::Constant(function) => function(claims),
            Function::Shared(function) => function(claims),
        }
    }
}

/// Two predicates are equal if they have the same name and the same function object.
impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        let is_same = match (&self.function, &other.function) {
            (Function::Constant(one), Function::Constant(other)) => std::ptr::fn_addr_eq(*one, *other),
            (Function::Shared(one), Function::Shared(other)) => Arc::ptr_eq(one, other),
            (Function::Constant(_), Function::Shared(_)) | (Function::Shared(_), Function::Constant(_)) => false,
        };
        self.name == other.name && is_same
    }
}

impl Eq for Predicate {}
