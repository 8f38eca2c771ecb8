//! A client of actord; see README.md. One connection, one thread.

pub mod client;
pub mod value;
pub mod wire;

pub use client::{Ask, Client, Error};
pub use value::Value;
pub use wire::Message;
