//! What others tell a connection's task.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::chat::room::{Contact, Order};

/// Orders that wait for a connection's task.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Bounded by `MAX_ORDERS`.
    orders: Mutex<Vec<Order>>,
    news: Notify,
}

/// More orders than this are not needed: each ends something.
const MAX_ORDERS: usize = 256;

impl Mailbox {
    /// The next orders.
    ///
    /// # Cancel safety
    ///
    /// None is lost if it is dropped before it is ready.
    pub(super) async fn next(&self) -> Vec<Order> {
        loop {
            let orders = self.take();
            if !orders.is_empty() {
                return orders;
            }
            self.news.notified().await;
        }
    }
}

impl Mailbox {
    /// The orders that are there.
    pub(super) fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Contact for Mailbox {
    fn order(&self, order: Order) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.len() < MAX_ORDERS {
            orders.push(order);
        }
        drop(orders);
        self.news.notify_one();
    }
}
