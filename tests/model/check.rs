//! Runs a model under the control of loom.

/// Runs a model under every interleaving of its threads, with at most three preemptions.
pub(crate) fn check(name: &str, model: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 100_000;
    builder.check(model);
    println!("{name}: ok");
}
