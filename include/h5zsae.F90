! H5Z-SAE: error-bounded compression of scientific frames with sparse autoencoders. The Fortran interface of libh5zsae.
!
! Compile this file with your own compiler, as module files serve one compiler only. It needs Fortran 2018.
!
! The first half is include/h5zsae.h, name by name: what a function does, and the rules for all of them, stand there.
! The second half adds procedures whose names end in _f, as HDF5's do. They take and give Fortran's own strings and
! arrays, and have these arguments in common:
!
! status   H5ZSAE_OK, or why it failed: one of the other codes
! errmsg   character(*), as with allocate: becomes the message of a failure, cut off at its length; else left alone.
!          Optional, as h5zsae_last_error_f gives the library's message in full
! model    a model's handle, as h5zsae_model_load_f or h5zsae_model_find gives it; to be freed with h5zsae_model_free.
!          Absent, no network is used to compress, and h5zsae_decompress_f finds models as the filter does
!
! Fortran has no unsigned integers: words, ids and bit patterns are the signed integers of the same bits. Its arrays
! name the fastest dimension first, C's and HDF5's tools the slowest: a(columns, rows, frames) has dims frames, rows,
! columns there.
module h5zsae
    use, intrinsic :: iso_c_binding, only: c_char, c_double, c_f_pointer, c_int, c_int32_t, c_int64_t, c_loc, &
        c_null_char, c_null_ptr, c_ptr, c_size_t
    use, intrinsic :: iso_fortran_env, only: int8, int16, int32, int64, real32, real64
    implicit none
    private

    integer(c_int), parameter, public :: H5Z_FILTER_SAE = 34222
    integer(c_int32_t), parameter, public :: H5ZSAE_ABI_VERSION = 0
    integer(c_int32_t), parameter, public :: H5ZSAE_CD_VALUES_VERSION = 0
    integer(c_int32_t), parameter, public :: H5ZSAE_MAX_CD_VALUES = 9

    integer(c_int32_t), parameter, public :: H5ZSAE_CLASS_UNSIGNED = 0
    integer(c_int32_t), parameter, public :: H5ZSAE_CLASS_SIGNED = 1
    integer(c_int32_t), parameter, public :: H5ZSAE_CLASS_FLOAT = 2

    integer(c_int32_t), parameter, public :: H5ZSAE_ORDER_LITTLE = 0
    integer(c_int32_t), parameter, public :: H5ZSAE_ORDER_BIG = 1

    integer(c_int32_t), parameter, public :: H5ZSAE_BOUND_LOSSLESS = 0
    integer(c_int32_t), parameter, public :: H5ZSAE_BOUND_ABSOLUTE = 1
    integer(c_int32_t), parameter, public :: H5ZSAE_BOUND_RELATIVE = 2
    integer(c_int32_t), parameter, public :: H5ZSAE_BOUND_NOISE = 3
    integer(c_int32_t), parameter, public :: H5ZSAE_BOUND_NONE = 4

    integer(c_int32_t), parameter, public :: H5ZSAE_EFFORT_DEFAULT = 0
    integer(c_int32_t), parameter, public :: H5ZSAE_EFFORT_FAST = 1
    integer(c_int32_t), parameter, public :: H5ZSAE_EFFORT_BEST = 2

    ! h5zsae_status
    integer(c_int), parameter, public :: H5ZSAE_OK = 0
    integer(c_int), parameter, public :: H5ZSAE_CORRUPT = 1
    integer(c_int), parameter, public :: H5ZSAE_TRUNCATED = 2
    integer(c_int), parameter, public :: H5ZSAE_UNSUPPORTED = 3
    integer(c_int), parameter, public :: H5ZSAE_INVALID_ARGUMENT = 4
    integer(c_int), parameter, public :: H5ZSAE_LIMIT_EXCEEDED = 5
    integer(c_int), parameter, public :: H5ZSAE_MISSING_MODEL = 6
    integer(c_int), parameter, public :: H5ZSAE_SYSTEM = 7
    integer(c_int), parameter, public :: H5ZSAE_INTERNAL = 100

    type, bind(c), public :: h5zsae_chunk
        integer(c_int32_t) :: element_class = 0
        integer(c_int32_t) :: element_bytes = 0
        integer(c_int32_t) :: byte_order = 0
        integer(c_int32_t) :: rank = 0
        type(c_ptr) :: dims = c_null_ptr
    end type

    type, bind(c), public :: h5zsae_options
        integer(c_int32_t) :: bound_kind = H5ZSAE_BOUND_LOSSLESS
        integer(c_int32_t) :: effort = H5ZSAE_EFFORT_DEFAULT
        real(c_double) :: bound = 0
        integer(c_int32_t) :: has_fill_value = 0
        integer(c_int32_t) :: has_mask_value = 0
        integer(c_int64_t) :: fill_value = 0
        integer(c_int64_t) :: mask_value = 0
        integer(c_int32_t) :: unbiased = 0
        integer(c_int32_t) :: reserved = 0
    end type

    type, bind(c), public :: h5zsae_header
        integer(c_int32_t) :: element_class = 0
        integer(c_int32_t) :: element_bytes = 0
        integer(c_int32_t) :: byte_order = 0
        integer(c_int32_t) :: rank = 0
        integer(c_size_t) :: dims(32) = 0
        integer(c_size_t) :: decoded_bytes = 0
        integer(c_int32_t) :: bound_kind = 0
        real(c_double) :: bound = 0
        real(c_double) :: max_abs_err = 0
        integer(c_int64_t) :: model_id = 0
    end type

    public :: h5zsae_version, h5zsae_abi_version_f, h5zsae_last_error
    public :: h5zsae_model_load, h5zsae_model_parse, h5zsae_model_find, h5zsae_model_register, h5zsae_model_id
    public :: h5zsae_model_free, h5zsae_compress_bound, h5zsae_compress, h5zsae_decompress, h5zsae_stream_info
    public :: h5zsae_buffer_free, h5zsae_cd_values, h5zsae_filter_class, h5zsae_register_filter, h5zsae_set_device

    interface
        function h5zsae_version() bind(c) result(version)
            import
            type(c_ptr) :: version
        end function

        ! Fortran does not tell h5zsae_abi_version from H5ZSAE_ABI_VERSION.
        function h5zsae_abi_version_f() bind(c, name='h5zsae_abi_version') result(version)
            import
            integer(c_int32_t) :: version
        end function

        function h5zsae_last_error() bind(c) result(message)
            import
            type(c_ptr) :: message
        end function

        ! name ends with c_null_char: "cpu", "cuda" or "cuda:N"
        function h5zsae_set_device(name) bind(c) result(status)
            import
            character(kind=c_char), intent(in) :: name(*)
            integer(c_int) :: status
        end function

        function h5zsae_model_load(path, model) bind(c) result(status)
            import
            character(kind=c_char), intent(in) :: path(*)
            type(c_ptr), intent(out) :: model
            integer(c_int) :: status
        end function

        function h5zsae_model_parse(bytes, n_bytes, model) bind(c) result(status)
            import
            type(c_ptr), value :: bytes
            integer(c_size_t), value :: n_bytes
            type(c_ptr), intent(out) :: model
            integer(c_int) :: status
        end function

        function h5zsae_model_find(id, model) bind(c) result(status)
            import
            integer(c_int64_t), value :: id
            type(c_ptr), intent(out) :: model
            integer(c_int) :: status
        end function

        function h5zsae_model_register(model) bind(c) result(status)
            import
            type(c_ptr), value :: model
            integer(c_int) :: status
        end function

        function h5zsae_model_id(model) bind(c) result(id)
            import
            type(c_ptr), value :: model
            integer(c_int64_t) :: id
        end function

        subroutine h5zsae_model_free(model) bind(c)
            import
            type(c_ptr), value :: model
        end subroutine

        function h5zsae_compress_bound(n_bytes) bind(c) result(bound)
            import
            integer(c_size_t), value :: n_bytes
            integer(c_size_t) :: bound
        end function

        function h5zsae_compress(values, n_bytes, chunk, options, model, stream, stream_bytes) bind(c) result(status)
            import
            type(c_ptr), value :: values
            integer(c_size_t), value :: n_bytes
            type(h5zsae_chunk), intent(in) :: chunk
            type(h5zsae_options), intent(in), optional :: options
            type(c_ptr), value :: model
            type(c_ptr), intent(out) :: stream
            integer(c_size_t), intent(out) :: stream_bytes
            integer(c_int) :: status
        end function

        function h5zsae_decompress(stream, stream_bytes, model, max_bytes, values, n_bytes) bind(c) result(status)
            import
            type(c_ptr), value :: stream
            integer(c_size_t), value :: stream_bytes
            type(c_ptr), value :: model
            integer(c_size_t), value :: max_bytes
            type(c_ptr), intent(out) :: values
            integer(c_size_t), intent(out) :: n_bytes
            integer(c_int) :: status
        end function

        function h5zsae_stream_info(stream, stream_bytes, info) bind(c) result(status)
            import
            type(c_ptr), value :: stream
            integer(c_size_t), value :: stream_bytes
            type(h5zsae_header), intent(out) :: info
            integer(c_int) :: status
        end function

        subroutine h5zsae_buffer_free(buffer) bind(c)
            import
            type(c_ptr), value :: buffer
        end subroutine

        function h5zsae_cd_values(options, model_id, cd_values, n_cd_values) bind(c) result(status)
            import
            type(h5zsae_options), intent(in), optional :: options
            integer(c_int64_t), value :: model_id
            integer(c_int), intent(out) :: cd_values(*)
            integer(c_size_t), intent(out) :: n_cd_values
            integer(c_int) :: status
        end function

        function h5zsae_filter_class() bind(c) result(class)
            import
            type(c_ptr) :: class
        end function

        function h5zsae_register_filter() bind(c) result(status)
            import
            integer(c_int) :: status
        end function
    end interface

    public :: h5zsae_version_f, h5zsae_last_error_f, h5zsae_model_load_f, h5zsae_model_parse_f
    public :: h5zsae_stream_info_f, h5zsae_shape_f, h5zsae_cd_values_f, h5zsae_compress_f, h5zsae_decompress_f

    !> Compresses one chunk: call h5zsae_compress_f(values, stream, status [, options, model, unsigned, errmsg]).
    !>
    !> values    real(real32), real(real64), or integer of 1, 2, 4 or 8 bytes; any rank from 1 on
    !> stream    receives the stream; integer(int8), allocatable :: stream(:)
    !> options   what is asked; absent for lossless
    !> unsigned  .true. for integers that hold unsigned numbers of the same bits; not for reals
    interface h5zsae_compress_f
        module procedure compress_int8, compress_int16, compress_int32, compress_int64, compress_real32, compress_real64
    end interface

    !> Decompresses one stream: call h5zsae_decompress_f(stream, values, status [, model, errmsg]).
    !>
    !> stream  integer(int8) :: stream(:)
    !> values  receives the elements, in the machine's byte order. Type and shape must be the stream's, as
    !>         h5zsae_stream_info_f and h5zsae_shape_f tell; integers take unsigned numbers too, as the same bits
    interface h5zsae_decompress_f
        module procedure decompress_int8, decompress_int16, decompress_int32, decompress_int64
        module procedure decompress_real32, decompress_real64
    end interface

contains

    !> The library's version, such as '0.1.0'.
    function h5zsae_version_f() result(version)
        character(:), allocatable :: version
        version = fortran_string(h5zsae_version())
    end function

    !> The message of the calling thread's last failure, also of the filter's; '' before the first.
    function h5zsae_last_error_f() result(message)
        character(:), allocatable :: message
        message = fortran_string(h5zsae_last_error())
    end function

    !> Reads a model file. Blanks at the end of its name do not count.
    subroutine h5zsae_model_load_f(path, model, status, errmsg)
        character(*), intent(in) :: path
        type(c_ptr), intent(out) :: model
        integer, intent(out) :: status
        character(*), intent(inout), optional :: errmsg
        status = h5zsae_model_load(trim(path)//c_null_char, model)
        call say(status, errmsg)
    end subroutine

    !> Reads a model from the bytes of its file.
    subroutine h5zsae_model_parse_f(bytes, model, status, errmsg)
        integer(int8), contiguous, target, intent(in) :: bytes(:)
        type(c_ptr), intent(out) :: model
        integer, intent(out) :: status
        character(*), intent(inout), optional :: errmsg
        status = h5zsae_model_parse(c_loc(bytes), size(bytes, kind=c_size_t), model)
        call say(status, errmsg)
    end subroutine

    !> Reads what a stream says of itself, and checks its checksum.
    subroutine h5zsae_stream_info_f(stream, header, status, errmsg)
        integer(int8), contiguous, target, intent(in) :: stream(:)
        type(h5zsae_header), intent(out) :: header
        integer, intent(out) :: status
        character(*), intent(inout), optional :: errmsg
        status = h5zsae_stream_info(c_loc(stream), size(stream, kind=c_size_t), header)
        call say(status, errmsg)
    end subroutine

    !> The dimensions of a stream's elements in Fortran's order, the fastest first: what to allocate for it.
    pure function h5zsae_shape_f(header) result(dims)
        type(h5zsae_header), intent(in) :: header
        integer(c_size_t) :: dims(header%rank)
        dims = header%dims(header%rank:1:-1)
    end function

    !> Makes the filter's parameters, for h5pset_filter_f: 7 words, or 9 with a mask value.
    !>
    !> model_id  as h5zsae_model_id gives it; absent or 0 for the built-in model
    subroutine h5zsae_cd_values_f(options, cd_values, status, model_id, errmsg)
        type(h5zsae_options), intent(in) :: options
        integer(c_int), allocatable, intent(out) :: cd_values(:)
        integer, intent(out) :: status
        integer(c_int64_t), intent(in), optional :: model_id
        character(*), intent(inout), optional :: errmsg
        integer(c_int) :: words(H5ZSAE_MAX_CD_VALUES)
        integer(c_size_t) :: n_words
        integer(c_int64_t) :: id
        id = 0
        if (present(model_id)) id = model_id
        status = h5zsae_cd_values(options, id, words, n_words)
        cd_values = words(:n_words)
        call say(status, errmsg)
    end subroutine

    subroutine compress_int8(values, stream, status, options, model, unsigned, errmsg)
        integer(int8), contiguous, target, intent(in) :: values(..)
        integer(int8), allocatable, intent(out) :: stream(:)
        integer, intent(out) :: status
        type(h5zsae_options), intent(in), optional :: options
        type(c_ptr), intent(in), optional :: model
        logical, intent(in), optional :: unsigned
        character(*), intent(inout), optional :: errmsg
        call compress_bytes(c_loc(values), integer_class(unsigned), 1, shape(values, c_size_t), stream, status, &
            options, model, errmsg)
    end subroutine

    subroutine compress_int16(values, stream, status, options, model, unsigned, errmsg)
        integer(int16), contiguous, target, intent(in) :: values(..)
        integer(int8), allocatable, intent(out) :: stream(:)
        integer, intent(out) :: status
        type(h5zsae_options), intent(in), optional :: options
        type(c_ptr), intent(in), optional :: model
        logical, intent(in), optional :: unsigned
        character(*), intent(inout), optional :: errmsg
        call compress_bytes(c_loc(values), integer_class(unsigned), 2, shape(values, c_size_t), stream, status, &
            options, model, errmsg)
    end subroutine

    subroutine compress_int32(values, stream, status, options, model, unsigned, errmsg)
        integer(int32), contiguous, target, intent(in) :: values(..)
        integer(int8), allocatable, intent(out) :: stream(:)
        integer, intent(out) :: status
        type(h5zsae_options), intent(in), optional :: options
        type(c_ptr), intent(in), optional :: model
        logical, intent(in), optional :: unsigned
        character(*), intent(inout), optional :: errmsg
        call compress_bytes(c_loc(values), integer_class(unsigned), 4, shape(values, c_size_t), stream, status, &
            options, model, errmsg)
    end subroutine

    subroutine compress_int64(values, stream, status, options, model, unsigned, errmsg)
        integer(int64), contiguous, target, intent(in) :: values(..)
        integer(int8), allocatable, intent(out) :: stream(:)
        integer, intent(out) :: status
        type(h5zsae_options), intent(in), optional :: options
        type(c_ptr), intent(in), optional :: model
        logical, intent(in), optional :: unsigned
        character(*), intent(inout), optional :: errmsg
        call compress_bytes(c_loc(values), integer_class(unsigned), 8, shape(values, c_size_t), stream, status, &
            options, model, errmsg)
    end subroutine

    subroutine compress_real32(values, stream, status, options, model, errmsg)
        real(real32), contiguous, target, intent(in) :: values(..)
        integer(int8), allocatable, intent(out) :: stream(:)
        integer, intent(out) :: status
        type(h5zsae_options), intent(in), optional :: options
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        call compress_bytes(c_loc(values), H5ZSAE_CLASS_FLOAT, 4, shape(values, c_size_t), stream, status, options, &
            model, errmsg)
    end subroutine

    subroutine compress_real64(values, stream, status, options, model, errmsg)
        real(real64), contiguous, target, intent(in) :: values(..)
        integer(int8), allocatable, intent(out) :: stream(:)
        integer, intent(out) :: status
        type(h5zsae_options), intent(in), optional :: options
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        call compress_bytes(c_loc(values), H5ZSAE_CLASS_FLOAT, 8, shape(values, c_size_t), stream, status, options, &
            model, errmsg)
    end subroutine

    subroutine decompress_int8(stream, values, status, model, errmsg)
        integer(int8), contiguous, target, intent(in) :: stream(:)
        integer(int8), contiguous, target, intent(out) :: values(..)
        integer, intent(out) :: status
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        call decompress_bytes(stream, c_loc(values), 'integer', 1, shape(values, c_size_t), status, model, errmsg)
    end subroutine

    subroutine decompress_int16(stream, values, status, model, errmsg)
        integer(int8), contiguous, target, intent(in) :: stream(:)
        integer(int16), contiguous, target, intent(out) :: values(..)
        integer, intent(out) :: status
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        call decompress_bytes(stream, c_loc(values), 'integer', 2, shape(values, c_size_t), status, model, errmsg)
    end subroutine

    subroutine decompress_int32(stream, values, status, model, errmsg)
        integer(int8), contiguous, target, intent(in) :: stream(:)
        integer(int32), contiguous, target, intent(out) :: values(..)
        integer, intent(out) :: status
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        call decompress_bytes(stream, c_loc(values), 'integer', 4, shape(values, c_size_t), status, model, errmsg)
    end subroutine

    subroutine decompress_int64(stream, values, status, model, errmsg)
        integer(int8), contiguous, target, intent(in) :: stream(:)
        integer(int64), contiguous, target, intent(out) :: values(..)
        integer, intent(out) :: status
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        call decompress_bytes(stream, c_loc(values), 'integer', 8, shape(values, c_size_t), status, model, errmsg)
    end subroutine

    subroutine decompress_real32(stream, values, status, model, errmsg)
        integer(int8), contiguous, target, intent(in) :: stream(:)
        real(real32), contiguous, target, intent(out) :: values(..)
        integer, intent(out) :: status
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        call decompress_bytes(stream, c_loc(values), 'real', 4, shape(values, c_size_t), status, model, errmsg)
    end subroutine

    subroutine decompress_real64(stream, values, status, model, errmsg)
        integer(int8), contiguous, target, intent(in) :: stream(:)
        real(real64), contiguous, target, intent(out) :: values(..)
        integer, intent(out) :: status
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        call decompress_bytes(stream, c_loc(values), 'real', 8, shape(values, c_size_t), status, model, errmsg)
    end subroutine

    !> Compresses the elements at an address. `extents` are those of the Fortran array.
    subroutine compress_bytes(values, element_class, element_bytes, extents, stream, status, options, model, errmsg)
        type(c_ptr), intent(in) :: values
        integer(c_int32_t), intent(in) :: element_class, element_bytes
        integer(c_size_t), intent(in) :: extents(:)
        integer(int8), allocatable, intent(out) :: stream(:)
        integer, intent(out) :: status
        type(h5zsae_options), intent(in), optional :: options
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        integer(c_size_t), target :: dims(size(extents))
        integer(c_size_t) :: n_bytes
        integer(int8), pointer :: bytes(:)
        type(c_ptr) :: buffer
        type(h5zsae_chunk) :: chunk
        dims = extents(size(extents):1:-1)
        chunk = h5zsae_chunk(element_class, element_bytes, native_order(), size(dims), c_loc(dims))
        status = h5zsae_compress(values, product(dims) * element_bytes, chunk, options, handle(model), buffer, n_bytes)
        call say(status, errmsg)
        if (status /= H5ZSAE_OK) then
            allocate (stream(0))
            return
        end if
        call c_f_pointer(buffer, bytes, [n_bytes])
        stream = bytes
        call h5zsae_buffer_free(buffer)
    end subroutine

    !> Decompresses to the address of an array of these extents, if type and shape are those of the stream.
    subroutine decompress_bytes(stream, values, type_name, element_bytes, extents, status, model, errmsg)
        integer(int8), contiguous, target, intent(in) :: stream(:)
        type(c_ptr), intent(in) :: values
        character(*), intent(in) :: type_name
        integer(c_int32_t), intent(in) :: element_bytes
        integer(c_size_t), intent(in) :: extents(:)
        integer, intent(out) :: status
        type(c_ptr), intent(in), optional :: model
        character(*), intent(inout), optional :: errmsg
        integer(c_size_t) :: n_bytes
        character(:), allocatable :: found, expected
        type(c_ptr) :: buffer
        type(h5zsae_header) :: header
        call h5zsae_stream_info_f(stream, header, status, errmsg)
        if (status /= H5ZSAE_OK) return
        found = description(header_type(header), header%element_bytes, h5zsae_shape_f(header))
        expected = description(type_name, element_bytes, extents)
        if (found /= expected) then
            status = H5ZSAE_INVALID_ARGUMENT
            if (present(errmsg)) errmsg = 'h5zsae_decompress_f: the stream holds '//found//', values is '//expected
            return
        end if
        status = h5zsae_decompress(c_loc(stream), size(stream, kind=c_size_t), handle(model), header%decoded_bytes, &
            buffer, n_bytes)
        call say(status, errmsg)
        if (status /= H5ZSAE_OK) return
        call copy_elements(buffer, values, element_bytes, product(extents), header%byte_order /= native_order())
        call h5zsae_buffer_free(buffer)
    end subroutine

    subroutine copy_elements(from, to, element_bytes, n_elements, reversed)
        type(c_ptr), intent(in) :: from, to
        integer(c_int32_t), intent(in) :: element_bytes
        integer(c_size_t), intent(in) :: n_elements
        logical, intent(in) :: reversed
        integer(int8), pointer :: source(:, :), destination(:, :)
        call c_f_pointer(from, source, [int(element_bytes, c_size_t), n_elements])
        call c_f_pointer(to, destination, [int(element_bytes, c_size_t), n_elements])
        if (reversed) then
            destination = source(element_bytes:1:-1, :)
        else
            destination = source
        end if
    end subroutine

    !> Type and shape as a declaration has them, such as integer*4(64,64).
    function description(type_name, element_bytes, extents) result(text)
        character(*), intent(in) :: type_name
        integer(c_int32_t), intent(in) :: element_bytes
        integer(c_size_t), intent(in) :: extents(:)
        character(:), allocatable :: text
        ! 32 extents of up to 20 digits.
        character(1024) :: buffer
        write (buffer, '(a, "*", i0, "(", *(i0, :, ","))') type_name, element_bytes, extents
        text = trim(buffer)//')'
    end function

    function header_type(header) result(type_name)
        type(h5zsae_header), intent(in) :: header
        character(:), allocatable :: type_name
        type_name = 'integer'
        if (header%element_class == H5ZSAE_CLASS_FLOAT) type_name = 'real'
    end function

    pure function integer_class(unsigned) result(element_class)
        logical, intent(in), optional :: unsigned
        integer(c_int32_t) :: element_class
        element_class = H5ZSAE_CLASS_SIGNED
        if (.not. present(unsigned)) return
        if (unsigned) element_class = H5ZSAE_CLASS_UNSIGNED
    end function

    pure function native_order() result(order)
        integer(c_int32_t) :: order
        integer(int8) :: bytes(2)
        bytes = transfer(1_int16, bytes)
        order = merge(H5ZSAE_ORDER_LITTLE, H5ZSAE_ORDER_BIG, bytes(1) == 1_int8)
    end function

    pure function handle(model) result(pointer)
        type(c_ptr), intent(in), optional :: model
        type(c_ptr) :: pointer
        pointer = c_null_ptr
        if (present(model)) pointer = model
    end function

    !> The library's message of a failure, for callers who asked for it.
    subroutine say(status, errmsg)
        integer, intent(in) :: status
        character(*), intent(inout), optional :: errmsg
        if (present(errmsg) .and. status /= H5ZSAE_OK) errmsg = h5zsae_last_error_f()
    end subroutine

    function fortran_string(address) result(text)
        type(c_ptr), intent(in) :: address
        character(:), allocatable :: text
        character(kind=c_char), pointer :: characters(:)
        integer :: i
        interface
            pure function strlen(string) bind(c)
                import
                type(c_ptr), value :: string
                integer(c_size_t) :: strlen
            end function
        end interface
        call c_f_pointer(address, characters, [strlen(address)])
        allocate (character(size(characters)) :: text)
        do i = 1, size(characters)
            text(i:i) = characters(i)
        end do
    end function
end module
