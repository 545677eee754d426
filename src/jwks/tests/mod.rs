mod cold;
pub(super) mod kit;
