//! Fan-out from outside: batches on short writes, members on sockets, and many threads at once.

#[path = "hub/batch.rs"]
mod batch;
#[path = "hub/sockets.rs"]
mod sockets;
#[path = "hub/stress.rs"]
mod stress;
#[path = "hub/writes.rs"]
mod writes;
