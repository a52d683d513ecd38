//! Open files and mappings of the simulated disk.
//!
//! Invariants
//! - I1  An inode lives while a handle or a mapping of it does.
//! - I2  A call that fails by plan or by a full disk changes nothing, except a torn write and a failed sync.
//!
//! Threads: any; the disk's mutex orders all calls. Failure: as planned, else as the system calls.

use super::schedule::{Call, Effect};
use super::{FaultFs, State, inode, power_off};
use crate::base::sync::MutexGuard;
use crate::error::{Error, Result};
use crate::fs::mem::{self, Windows, fail};
use crate::fs::{File, MappedLog};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Keeps an inode while a file or a mapping of it is open.
struct Handle {
    disk: FaultFs,
    number: u64,
    path: PathBuf,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        let inode = state.inode(self.number);
        inode.open -= 1;
        if inode.open == 0 {
            state.collect();
        }
    }
}

/// An open file of the simulated disk.
pub struct FaultFile {
    handle: Arc<Handle>,
    writable: bool,
}

impl FaultFile {
    /// A handle to inode `number`, whose count of open handles the caller has raised.
    pub fn new(disk: FaultFs, number: u64, path: &Path, writable: bool) -> FaultFile {
        FaultFile { handle: Arc::new(Handle { disk, number, path: path.to_owned() }), writable }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.handle.disk.state()
    }

    fn fail(&self, errno: i32, call: Call) -> Error {
        fail(errno, call.name(), &self.handle.path)
    }

    /// Enters a call that writes and may grow the file to `offset + len`; answers that end and the effect left to do.
    fn enter_write(&self, state: &mut State, call: Call, offset: u64, len: u64) -> Result<(usize, Option<Effect>)> {
        let effect = state.enter(call, &self.handle.path)?;
        if !self.writable {
            return Err(self.fail(libc::EBADF, call));
        }
        let end = mem::end_of(offset, len).map_err(|e| self.fail(e, call))?;
        state.room(self.handle.number, end).map_err(|e| self.fail(e, call))?;
        Ok((end, effect))
    }

    fn sync(&self, range: Option<(usize, usize)>) -> Result<()> {
        let (path, number) = (&self.handle.path, self.handle.number);
        let mut state = self.state();
        let effect = state.enter(Call::Sync, path)?;
        let (op, off) = state.step();
        if off {
            return Err(power_off(Call::Sync, path));
        }
        let state = &mut *state;
        let Some(inode) = state.inodes.get_mut(&number) else { return Ok(()) };
        if let Some(Effect::Errno(errno)) = effect {
            let (start, end) = range.unwrap_or((0, usize::MAX - inode::PAGE));
            inode.fail_sync(op, start, end, &mut state.rng);
            return Err(self.fail(errno, Call::Sync));
        }
        match range {
            Some((start, end)) => inode.sync_range(op, start, end),
            None => inode.sync(op),
        }
        Ok(())
    }
}

impl File for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut state = self.state();
        let most = match state.enter(Call::Read, &self.handle.path)? {
            Some(Effect::Short(most)) => most.min(buf.len()),
            _ => buf.len(),
        };
        Ok(mem::copy_out(state.inode(self.handle.number).live(), &mut buf[..most], offset))
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        if buf.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        let (end, effect) = self.enter_write(&mut state, Call::Write, offset, buf.len() as u64)?;
        let (arrives, errno) = match effect {
            Some(Effect::Torn(bytes, errno)) => (&buf[..bytes.min(buf.len())], errno),
            _ => (buf, 0),
        };
        let (op, _) = state.step();
        if !arrives.is_empty() {
            state.inode(self.handle.number).write(op, end - buf.len(), arrives);
        }
        state.heard(Call::Write, &self.handle.path)?;
        if errno == 0 { Ok(()) } else { Err(self.fail(errno, Call::Write)) }
    }

    fn write_all_at_sync(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.write_all_at(buf, offset)?;
        let end = mem::end_of(offset, buf.len() as u64).map_err(|e| self.fail(e, Call::Write))?;
        self.sync(Some((end - buf.len(), end)))
    }

    fn sync_data(&self) -> Result<()> {
        self.sync(None)
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}

    fn len(&self) -> Result<u64> {
        let mut state = self.state();
        state.enter(Call::Stat, &self.handle.path)?;
        Ok(state.inode(self.handle.number).live().len() as u64)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.state();
        let (end, _) = self.enter_write(&mut state, Call::SetLen, 0, len)?;
        let (op, _) = state.step();
        state.inode(self.handle.number).set_len(op, end);
        state.heard(Call::SetLen, &self.handle.path)
    }

    fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        let mut state = self.state();
        let (end, _) = self.enter_write(&mut state, Call::Allocate, offset, len)?;
        let (op, _) = state.step();
        let inode = state.inode(self.handle.number);
        let end = end.max(inode.live().len());
        inode.set_len(op, end);
        state.heard(Call::Allocate, &self.handle.path)
    }

    fn prefetch(&self, _offset: u64, _len: u64) {}

    fn map_log(&self, len: u64) -> Result<Box<dyn MappedLog>> {
        let mut state = self.state();
        state.enter(Call::Map, &self.handle.path)?;
        let mappable = state.mappable;
        let file_len = state.inode(self.handle.number).live().len();
        mem::check_mapping(mappable, self.writable, file_len, len, &self.handle.path)?;
        Ok(Box::new(FaultMappedLog { handle: self.handle.clone(), windows: Windows::new(len as usize) }))
    }

    fn path(&self) -> &Path {
        &self.handle.path
    }
}

/// A mapping. Its stores are unsynced writes like any others.
struct FaultMappedLog {
    handle: Arc<Handle>,
    windows: Windows,
}

impl MappedLog for FaultMappedLog {
    fn prepare(&self, offset: usize, len: usize) -> Result<()> {
        self.handle.disk.state().enter(Call::Prepare, &self.handle.path)?;
        self.windows.prepare(offset, len)
    }

    fn release(&self, from: usize, to: usize) {
        self.windows.release(from, to);
    }

    fn store(&self, offset: usize, bytes: &[u8]) {
        self.windows.check(offset, bytes.len());
        let mut state = self.handle.disk.state();
        if bytes.is_empty() || state.off {
            return;
        }
        // Only counted: a store has no way to fail.
        let _ = state.schedule.meet(Call::Store, &self.handle.path);
        let (op, _) = state.step();
        let inode = state.inode(self.handle.number);
        assert!(offset + bytes.len() <= inode.live().len(), "a store behind the end of a file that was cut");
        inode.write(op, offset, bytes);
    }
}
