//! The task of one group: that of a group that assigns itself, or that of one whose coordinator assigns. While it has no
//! members, it is that of whoever comes.
//!
//! Must not know what the protocols decide. Invariant: which of the two it is with members, the manifest says; a task that
//! changes it hands the group over.

use std::sync::Arc;

use strandline_core::manifest::GroupKind;
use tokio::sync::mpsc;

use super::active::{Seat, Turn};
use super::assigning::Assigning;
use super::coordinator::Coordinator;
use super::message::Message;

/// Until there is nothing more to do.
pub(super) async fn run(seat: Seat, inbox: mpsc::Receiver<Message>) {
    let mut turn = Turn { inbox, message: None, upgrade: None };
    loop {
        let Turn { inbox, message, upgrade } = turn;
        let assigns = match seat.active.kind(&seat.name) {
            _ if upgrade.is_some() => true,
            Some(kind) => kind == GroupKind::Consumer,
            None => matches!(message, Some(Message::Beat { .. })),
        };
        let next = if assigns {
            Assigning::new(&seat, inbox, upgrade).run(message).await
        } else {
            let Seat { active, name, number, state } = &seat;
            let (active, state) = (Arc::clone(active), Arc::clone(state));
            Coordinator::new(active, name, *number, inbox, state).run(message).await
        };
        match next {
            Some(next) => turn = next,
            None => return,
        }
    }
}
