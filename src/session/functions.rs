//! What is known of the tenant's functions, and what follows for the server that ran them.

use std::sync::Arc;

use super::lexer::Hints;
use super::live::Live;
use super::relay::Relay;
use super::routines::{self, Routines};
use crate::server::DialError;

impl Live {
    /// Brings what is known of the tenant's functions up to date: by what another session is reading
    /// now or has read since, or else on the server that is at hand. What ran before they were known is
    /// taken for what it may have been.
    ///
    /// # Errors
    /// When the server did not answer: it must be destroyed.
    pub(super) async fn read_functions(&mut self, relay: &mut Relay) -> Result<Hints, DialError> {
        let blind = self.schema.is_outdated(&self.reading);
        let schema = self.schema.clone();
        let wanted = schema.changes();
        let _turn = schema.turn().await;
        schema.refresh(&mut self.reading);
        if blind && self.reading.is_of(wanted) {
            relay.read_with(&self.reading);
            return Ok(self.missed(blind));
        }
        let changes = schema.changes();
        let Some(lease) = &mut self.held else { return Ok(Hints::NONE) };
        // A cancel that is still on its way would hit the question.
        self.entry.card().served_by_nobody();
        lease.gate().clone().landed().await;
        self.shared.parts.metrics.readings.inc();
        let read = match routines::read(lease).await {
            Ok(read) => read,
            Err(error) => {
                if matches!(error, DialError::Protocol(_) | DialError::Timeout) {
                    // Not asked again by every session that comes by.
                    self.schema.was_read(Some(Arc::new(Routines::unknown())), changes);
                } else {
                    self.schema.was_not_read();
                }
                return Err(error);
            }
        };
        self.entry.card().served_by(lease.gate());
        // A simple query destroys it, pgusher's own too.
        lease.statements.unnamed_is_gone();
        relay.say().raw(&read.notifications);
        self.schema.was_read(read.routines, changes);
        self.schema.refresh(&mut self.reading);
        relay.read_with(&self.reading);
        Ok(self.missed(blind))
    }

    /// What may have been missed by who did not know the functions.
    fn missed(&self, blind: bool) -> Hints {
        let any = self.reading.routines.is_some();
        if blind && any { Hints::ROUTINE } else { Hints::NONE }
    }

    /// What a function may have set is asked for by name; what nobody can know marks the server.
    pub(super) fn note_functions(&mut self, hints: Hints, custom: &mut Vec<String>) {
        // What a text prepared by SQL calls may have come to set something since.
        if hints.intersects(Hints::ROUTINE | Hints::EXECUTE)
            && let Some(routines) = &self.reading.routines
        {
            let new = routines.settings.iter().filter(|name| !custom.contains(name));
            let new: Vec<String> = new.cloned().collect();
            custom.extend(new);
        }
        // Whose statements a body closes, no tag tells.
        if hints.contains(Hints::DEALLOCATE | Hints::IN_BODY)
            && let Some(lease) = &mut self.held
        {
            lease.statements.doubt();
        }
        let unknown = Hints::FOREIGN | Hints::DYNAMIC;
        if hints.intersects(unknown)
            && let Some(lease) = &mut self.held
        {
            lease.marked_by = Some(self.number);
            // A library's memory, an interpreter's: closed when the session ends.
            if hints.contains(Hints::FOREIGN) {
                lease.is_spoiled = true;
                lease.wear();
            }
        }
    }
}
