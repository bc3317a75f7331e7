use std::ffi::c_void;

use ort::operator::ComputeContext;
use ort::{AsPointer, sys};

/// A tensor in memory of the process. The wrappers of `ort` ask several times for its type, and allocate its shape.
#[derive(Clone, Copy)]
pub(super) struct Tensor<'a> {
    pub data: *mut c_void,
    pub shape: &'a [i64],
}

impl<'a> Tensor<'a> {
    /// # Safety
    /// The operator has such an input.
    pub unsafe fn input(context: &'a ComputeContext, number: usize) -> ort::Result<Self> {
        let mut value = std::ptr::null();
        // SAFETY: the context is live.
        unsafe {
            ort::Error::result_from_status((ort::api().KernelContext_GetInput)(context.ptr(), number, &raw mut value))?;
            Self::of(value)
        }
    }

    /// # Safety
    /// The operator has such an output.
    pub unsafe fn output(context: &'a ComputeContext, number: usize, shape: &[i64]) -> ort::Result<Self> {
        let mut value = std::ptr::null_mut();
        // SAFETY: the context is live, and the shape is as long as it says.
        unsafe {
            let status = (ort::api().KernelContext_GetOutput)(
                context.ptr().cast_mut(),
                number,
                shape.as_ptr(),
                shape.len(),
                &raw mut value,
            );
            ort::Error::result_from_status(status)?;
            Self::of(value)
        }
    }

    /// # Safety
    /// The value is a tensor, or null.
    unsafe fn of(value: *const sys::OrtValue) -> ort::Result<Self> {
        if value.is_null() {
            return Err(ort::Error::new("a tensor is missing"));
        }
        let (mut data, mut shape, mut dimensions) = (std::ptr::null_mut(), std::ptr::null(), 0);
        let mut kind = sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        // SAFETY: the value is live; its shape lives as long as it does.
        unsafe {
            let api = ort::api();
            ort::Error::result_from_status((api.GetTensorMutableData)(value.cast_mut(), &raw mut data))?;
            let status =
                (api.GetTensorElementTypeAndShapeDataReference)(value, &raw mut kind, &raw mut shape, &raw mut dimensions);
            ort::Error::result_from_status(status)?;
            let shape = if dimensions == 0 { &[] } else { std::slice::from_raw_parts(shape, dimensions) };
            Ok(Self { data, shape })
        }
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }

    /// # Safety
    /// It holds such numbers, which nobody writes.
    pub unsafe fn slice<T>(&self) -> &'a [T] {
        // SAFETY: as many as its shape says.
        if self.len() == 0 { &[] } else { unsafe { std::slice::from_raw_parts(self.data.cast(), self.len()) } }
    }

    /// # Safety
    /// It holds numbers of 4 bytes, which nobody else reads or writes.
    pub unsafe fn bytes_mut(&self) -> &'a mut [u8] {
        // SAFETY: as many as its shape says.
        if self.len() == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(self.data.cast(), 4 * self.len()) } }
    }
}
