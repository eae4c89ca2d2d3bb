//! The task of one group, in the protocol that its members speak; while it has none, in that of whoever comes.
//!
//! Must not know what the protocols decide. Invariant: a group changes its protocol only while it has no members.

use std::sync::Arc;

use strandline_core::manifest::GroupKind;
use tokio::sync::mpsc;

use super::active::Seat;
use super::assigning::Assigning;
use super::coordinator::Coordinator;
use super::message::Message;

/// Until there is nothing more to do.
pub(super) async fn run(seat: Seat, mut inbox: mpsc::Receiver<Message>) {
    let assigns = |seat: &Seat| {
        seat.active.journal.view(|manifest| {
            let group = manifest.group(&seat.name);
            group.is_some_and(|group| group.kind == GroupKind::Consumer && !group.members.is_empty())
        })
    };
    let mut first = None;
    loop {
        let Seat { active, name, number, state } = &seat;
        let beaten = matches!(first, Some(Message::Beat { .. }));
        let turn = if beaten || (first.is_none() && assigns(&seat)) {
            Assigning::new(&seat, inbox).run(first).await
        } else {
            let (active, state) = (Arc::clone(active), Arc::clone(state));
            Coordinator::new(active, name, *number, inbox, state).run(first).await
        };
        match turn {
            Some((rest, message)) => (inbox, first) = (rest, Some(message)),
            None => return,
        }
    }
}
