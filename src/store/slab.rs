//! A table whose places are named by number and generation, so that a stale name finds nothing.
//!
//! Invariants: a name finds at most the tenant it was given for (up to the wrap of 2^32 tenants of
//! one place); a place is reused before the table grows.

/// See the module.
#[derive(Debug)]
pub struct Slab<T> {
    tenants: Vec<Option<T>>,
    /// Beside the tenants, who would be rounded up to their alignment with it.
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self { tenants: Vec::new(), generations: Vec::new(), free: Vec::new() }
    }

    /// Number of tenants.
    pub fn len(&self) -> usize {
        self.tenants.len() - self.free.len()
    }

    /// Lets `tenant` in and returns its place and generation.
    pub fn insert(&mut self, tenant: T) -> (u32, u32) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.tenants.push(None);
            self.generations.push(0);
            u32::try_from(self.tenants.len() - 1).expect("fewer than 2^32 tenants fit memory")
        });
        let room = &mut self.tenants[place as usize];
        debug_assert!(room.is_none());
        *room = Some(tenant);
        (place, self.generations[place as usize])
    }

    /// The tenant by its full name.
    pub fn find(&mut self, place: u32, generation: u32) -> Option<&mut T> {
        if *self.generations.get(place as usize)? != generation {
            return None;
        }
        self.at_mut(place)
    }

    /// The tenant of a place.
    #[inline]
    pub fn at(&self, place: u32) -> Option<&T> {
        self.tenants.get(place as usize)?.as_ref()
    }

    /// The tenant of a place.
    pub fn at_mut(&mut self, place: u32) -> Option<&mut T> {
        self.tenants.get_mut(place as usize)?.as_mut()
    }

    /// The generation of the tenant of a place.
    pub fn generation(&self, place: u32) -> u32 {
        self.generations[place as usize]
    }

    /// Lets the tenant of a place out.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        let tenant = self.tenants.get_mut(place as usize)?.take()?;
        let generation = &mut self.generations[place as usize];
        *generation = generation.wrapping_add(1);
        self.free.push(place);
        Some(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_stale_name_finds_nothing() {
        let mut slab = Slab::new();
        let (place, generation) = slab.insert('a');
        assert_eq!(slab.find(place, generation), Some(&mut 'a'));
        assert_eq!(slab.remove(place), Some('a'));
        let (again, next) = slab.insert('b');
        assert_eq!((again, slab.len()), (place, 1));
        assert_eq!(slab.find(place, generation), None);
        assert_eq!(slab.find(place, next), Some(&mut 'b'));
    }
}
