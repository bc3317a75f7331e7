/// A result in memory that threads write parts of, each its own.
pub(super) struct Output<T = f32> {
    data: *mut T,
    len: usize,
}

// SAFETY: who writes through it answers for its part being its own.
unsafe impl<T: Send> Sync for Output<T> {}

impl<T> Output<T> {
    /// # Safety
    /// `data` holds `len` numbers that nobody else touches while this is used.
    pub unsafe fn new(data: *mut T, len: usize) -> Self {
        Self { data, len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The place of a number, to be written by whose part it is.
    pub fn at(&self, number: usize) -> *mut T {
        assert!(number < self.len);
        // SAFETY: it lies inside.
        unsafe { self.data.add(number) }
    }
}
