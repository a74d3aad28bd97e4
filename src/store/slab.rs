//! A table whose places are named by number and generation, so that a stale name finds nothing.
//!
//! Invariants: a name finds at most the tenant it was given for (up to the wrap of 2^32 tenants of
//! one place); a place is reused before the table grows.

/// See the module.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    tenant: Option<T>,
}

impl<T> Slab<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Number of tenants.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Lets `tenant` in and returns its place and generation.
    pub fn insert(&mut self, tenant: T) -> (u32, u32) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, tenant: None });
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 tenants fit memory")
        });
        let room = &mut self.places[place as usize];
        debug_assert!(room.tenant.is_none());
        room.tenant = Some(tenant);
        (place, room.generation)
    }

    /// The tenant by its full name.
    pub fn find(&mut self, place: u32, generation: u32) -> Option<&mut T> {
        let room = self.places.get_mut(place as usize)?;
        if room.generation == generation { room.tenant.as_mut() } else { None }
    }

    /// The tenant of a place.
    pub fn at(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.tenant.as_ref()
    }

    /// The tenant of a place.
    pub fn at_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.tenant.as_mut()
    }

    /// The generation of the tenant of a place.
    pub fn generation(&self, place: u32) -> u32 {
        self.places[place as usize].generation
    }

    /// Lets the tenant of a place out.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        let room = self.places.get_mut(place as usize)?;
        let tenant = room.tenant.take()?;
        room.generation = room.generation.wrapping_add(1);
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
