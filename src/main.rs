//! Parse and call.

fn main() {}
