use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use ort::sys::ONNXTensorElementDataType as Sys;

/// What a graph's tensors hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    F32,
    F16,
    I32,
    I64,
}

impl Kind {
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    pub(super) fn sys(self) -> Sys {
        match self {
            Self::F32 => Sys::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
            Self::F16 => Sys::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
            Self::I32 => Sys::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
            Self::I64 => Sys::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for i16 {}
    impl Sealed for i32 {}
    impl Sealed for i64 {}
    impl Sealed for f32 {}
}

/// Numbers of which every bit pattern is one.
pub trait Element: Copy + sealed::Sealed {}
impl Element for u8 {}
impl Element for i16 {}
impl Element for i32 {}
impl Element for i64 {}
impl Element for f32 {}

/// Where a cache line and the widest vector register begin.
const ALIGNMENT: usize = 64;
/// A large page: memory of many of them is found with fewer steps when it is read all over, as caches and weights are.
const LARGE_PAGE: usize = 2 << 20;

/// Zeroed memory of the process that graphs read and write in place. Pages that nobody touched take no room.
pub struct Memory {
    allocated: NonNull<u8>,
    /// The first aligned byte.
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to this value alone, and is only reached through it.
unsafe impl Send for Memory {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Memory {}

impl Memory {
    pub fn zeroed(bytes: usize) -> Self {
        let layout = Self::layout(bytes);
        // SAFETY: the layout's size is not 0.
        let allocated = unsafe { alloc_zeroed(layout) };
        let allocated = NonNull::new(allocated).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: the layout has room for the bytes behind an aligned one.
        let start = unsafe { allocated.add(allocated.align_offset(Self::alignment(bytes))) };
        #[cfg(target_os = "linux")]
        if bytes >= LARGE_PAGE {
            // SAFETY: the whole pages from an aligned address on, inside what was allocated. Where the kernel declines, pages stay small.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes / LARGE_PAGE * LARGE_PAGE, libc::MADV_HUGEPAGE) };
        }
        Self { allocated, start, bytes }
    }

    pub fn of<T: Element>(values: &[T]) -> Self {
        let mut memory = Self::zeroed(size_of_val(values));
        memory.slice_mut::<T>().copy_from_slice(values);
        memory
    }

    fn layout(bytes: usize) -> Layout {
        // The allocator writes zeros itself where it is asked for more than its own alignment, and so touches every page.
        Layout::from_size_align(bytes + Self::alignment(bytes), 16).expect("far below the address space")
    }

    fn alignment(bytes: usize) -> usize {
        if bytes >= LARGE_PAGE { LARGE_PAGE } else { ALIGNMENT }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn slice<T: Element>(&self) -> &[T] {
        // SAFETY: the memory is aligned for any element and holds so many of them; every bit pattern is an element.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast::<T>(), self.bytes / size_of::<T>()) }
    }

    pub fn slice_mut<T: Element>(&mut self) -> &mut [T] {
        // SAFETY: as in `slice`, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast::<T>(), self.bytes / size_of::<T>()) }
    }

    /// For a tensor that ONNX Runtime writes to while nothing else borrows the memory.
    pub(super) fn pointer(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.allocated.as_ptr(), Self::layout(self.bytes)) }
    }
}

/// A tensor of its own memory: what goes into a graph or comes out of it once.
pub struct Array {
    pub kind: Kind,
    pub shape: Vec<usize>,
    pub memory: Memory,
}

impl Array {
    fn new<T: Element>(kind: Kind, shape: &[usize], values: &[T]) -> Self {
        let array = Self { kind, shape: shape.to_vec(), memory: Memory::of(values) };
        assert_eq!(array.memory.bytes(), array.elements() * kind.size(), "a value for each element of {shape:?}");
        array
    }

    pub fn i64(shape: &[usize], values: &[i64]) -> Self {
        Self::new(Kind::I64, shape, values)
    }

    pub fn i32(shape: &[usize], values: &[i32]) -> Self {
        Self::new(Kind::I32, shape, values)
    }

    /// Numbers that are only passed on, whatever their kind.
    pub fn bytes(kind: Kind, shape: &[usize], values: &[u8]) -> Self {
        Self::new(kind, shape, values)
    }

    pub fn zeroed(kind: Kind, shape: &[usize]) -> Self {
        let memory = Memory::zeroed(shape.iter().product::<usize>() * kind.size());
        Self { kind, shape: shape.to_vec(), memory }
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_zeroed_and_keeps_what_is_written() {
        for bytes in [0, 1, 63, 4096, LARGE_PAGE + 1] {
            let mut memory = Memory::zeroed(bytes);
            assert_eq!(memory.pointer() as usize % ALIGNMENT, 0);
            assert!(memory.slice::<u8>().iter().all(|&byte| byte == 0));
            assert_eq!(memory.slice::<i64>().len(), bytes / 8);
            memory.slice_mut::<u8>().fill(7);
            assert!(memory.slice::<u8>().iter().all(|&byte| byte == 7));
        }
        assert_eq!(Memory::of(&[1.5f32, -2.0]).slice::<f32>(), [1.5, -2.0]);
    }

    #[test]
    #[should_panic(expected = "a value for each element")]
    fn an_array_is_as_large_as_its_shape() {
        Array::i64(&[2, 2], &[1, 2, 3]);
    }
}
