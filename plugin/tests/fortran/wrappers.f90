! What include/h5zsae.F90 adds to the C functions: types, shapes, byte orders, strings, errors.
program wrappers
    use, intrinsic :: iso_c_binding, only: c_int, c_int64_t, c_loc, c_null_ptr, c_ptr, c_f_pointer, c_size_t
    use, intrinsic :: iso_fortran_env, only: error_unit, int8, int16, int32, int64, real32, real64
    use h5zsae
    implicit none

    call strings()
    call integers_come_back()
    call reals_come_back()
    call parts_of_arrays_are_taken()
    call unsigned_numbers_keep_their_bits()
    call foreign_byte_orders_are_turned()
    call other_types_and_shapes_are_refused()
    call failures_say_why()
    call cd_values_are_those_of_the_tools()
    print '(a)', 'wrappers done'

contains

    subroutine check(condition, what)
        logical, intent(in) :: condition
        character(*), intent(in) :: what
        if (condition) return
        write (error_unit, '(2a)') 'failed: ', what
        error stop
    end subroutine

    subroutine strings()
        character(:), allocatable :: version
        version = h5zsae_version_f()
        call check(len(version) >= 5 .and. verify(version, '0123456789.') == 0, 'version '//version)
        call check(h5zsae_last_error_f() == '', 'no error yet')
        call check(h5zsae_abi_version_f() == H5ZSAE_ABI_VERSION, 'version of the interface')
    end subroutine

    subroutine integers_come_back()
        integer(int8) :: bytes(7), bytes_back(7)
        integer(int64) :: longs(5, 3), longs_back(5, 3)
        integer(int8), allocatable :: stream(:)
        type(h5zsae_header) :: header
        integer :: status, i
        bytes = [integer(int8) :: -127, -1, 0, 1, 2, 3, 127]
        call h5zsae_compress_f(bytes, stream, status)
        call check(status == H5ZSAE_OK, 'compress int8')
        call h5zsae_decompress_f(stream, bytes_back, status)
        call check(status == H5ZSAE_OK .and. all(bytes == bytes_back), 'decompress int8')
        longs = reshape([(int(i, int64)**9, i=1, 15)], [5, 3])
        call h5zsae_compress_f(longs, stream, status)
        call h5zsae_stream_info_f(stream, header, status)
        call check(status == H5ZSAE_OK .and. all(header%dims(:3) == [3, 5, 0]), 'dimensions of C are the slowest first')
        call check(all(h5zsae_shape_f(header) == [5, 3]), 'those of Fortran are the fastest first')
        call check(header%element_class == H5ZSAE_CLASS_SIGNED, 'integers are signed')
        call h5zsae_decompress_f(stream, longs_back, status)
        call check(status == H5ZSAE_OK .and. all(longs == longs_back), 'decompress int64')
    end subroutine

    subroutine reals_come_back()
        real(real64) :: values(20, 10), back(20, 10)
        integer(int8), allocatable :: stream(:)
        type(h5zsae_options) :: options
        type(c_ptr) :: model
        integer :: status, i
        values = reshape([(sin(i * 0.1_real64), i=1, 200)], [20, 10])
        options%bound_kind = H5ZSAE_BOUND_ABSOLUTE
        options%bound = 0.01_real64
        options%effort = H5ZSAE_EFFORT_FAST
        call check(h5zsae_model_find(0_c_int64_t, model) == H5ZSAE_OK, 'find the built-in model')
        call h5zsae_compress_f(values, stream, status, options, model)
        call check(status == H5ZSAE_OK, 'compress real64')
        call check(size(stream, kind=c_size_t) <= h5zsae_compress_bound(8_c_size_t * size(values)), 'compress bound')
        call h5zsae_decompress_f(stream, back, status, model)
        call check(status == H5ZSAE_OK .and. maxval(abs(back - values)) <= 0.01_real64, 'decompress real64')
        call h5zsae_model_free(model)
    end subroutine

    subroutine parts_of_arrays_are_taken()
        integer(int16) :: values(8, 8), back(8, 8)
        integer(int8), allocatable :: stream(:)
        integer :: status, i
        values = reshape([(int(i, int16), i=1, 64)], [8, 8])
        back = -1
        call h5zsae_compress_f(values(2:8:2, 3:5), stream, status)
        call check(status == H5ZSAE_OK, 'compress a part')
        call h5zsae_decompress_f(stream, back(2:8:2, 3:5), status)
        call check(status == H5ZSAE_OK .and. all(back(2:8:2, 3:5) == values(2:8:2, 3:5)), 'decompress a part')
        call check(all(back(1:7:2, :) == -1_int16) .and. all(back(:, :2) == -1_int16), 'nothing beside it is written')
    end subroutine

    subroutine unsigned_numbers_keep_their_bits()
        integer(int32) :: values(4), back(4)
        integer(int8), allocatable :: stream(:)
        type(h5zsae_header) :: header
        integer :: status
        values = [0, 1, -1, -2]
        call h5zsae_compress_f(values, stream, status, unsigned=.true.)
        call h5zsae_stream_info_f(stream, header, status)
        call check(header%element_class == H5ZSAE_CLASS_UNSIGNED, 'unsigned')
        call h5zsae_decompress_f(stream, back, status)
        call check(status == H5ZSAE_OK .and. all(values == back), 'decompress unsigned')
    end subroutine

    subroutine foreign_byte_orders_are_turned()
        integer(int8), target :: turned(8)
        integer(int8), pointer :: stream(:)
        integer(int32) :: back(2)
        integer(c_size_t), target :: dims(1)
        integer(c_size_t) :: n_bytes
        type(h5zsae_chunk) :: chunk
        type(c_ptr) :: buffer
        integer :: status
        ! 258 and -2, most significant byte first.
        turned = [integer(int8) :: 0, 0, 1, 2, -1, -1, -1, -2]
        dims = 2
        chunk = h5zsae_chunk(H5ZSAE_CLASS_SIGNED, 4, H5ZSAE_ORDER_BIG, 1, c_loc(dims))
        status = h5zsae_compress(c_loc(turned), 8_c_size_t, chunk, model=c_null_ptr, stream=buffer, &
            stream_bytes=n_bytes)
        call check(status == H5ZSAE_OK, 'compress big-endian')
        call c_f_pointer(buffer, stream, [n_bytes])
        call h5zsae_decompress_f(stream, back, status)
        call check(status == H5ZSAE_OK .and. all(back == [258, -2]), 'decompress big-endian')
        call h5zsae_buffer_free(buffer)
    end subroutine

    subroutine other_types_and_shapes_are_refused()
        integer(int8), allocatable :: stream(:)
        character(100) :: message
        real(real32) :: single(2, 3)
        integer(int32) :: same_size(2, 3), transposed(3, 2)
        integer :: status
        call h5zsae_compress_f(reshape([1, 2, 3, 4, 5, 6], [2, 3]), stream, status)
        call h5zsae_decompress_f(stream, single, status, errmsg=message)
        call check(status == H5ZSAE_INVALID_ARGUMENT, 'real for integer')
        call check(message == 'h5zsae_decompress_f: the stream holds integer*4(2,3), values is real*4(2,3)', message)
        call h5zsae_decompress_f(stream, transposed, status, errmsg=message)
        call check(status == H5ZSAE_INVALID_ARGUMENT .and. index(message, 'integer*4(3,2)') > 0, message)
        message = 'untouched'
        call h5zsae_decompress_f(stream, same_size, status, errmsg=message)
        call check(status == H5ZSAE_OK .and. same_size(2, 3) == 6, 'the right type and shape')
        call check(message == 'untouched', 'errmsg is left alone without an error')
    end subroutine

    subroutine failures_say_why()
        integer(int8), allocatable :: stream(:)
        character(500) :: message
        type(c_ptr) :: model
        integer(int32) :: back(3)
        integer :: status
        call h5zsae_compress_f([1, 2, 3], stream, status, h5zsae_options(effort=9), errmsg=message)
        call check(status == H5ZSAE_INVALID_ARGUMENT .and. size(stream) == 0, 'effort 9')
        call check(index(message, 'effort is 9') > 0 .and. message == h5zsae_last_error_f(), message)
        message = ''
        call h5zsae_decompress_f([integer(int8) :: 1, 2, 3], back, status, errmsg=message)
        call check(status /= H5ZSAE_OK .and. message /= '', 'no stream')
        call h5zsae_model_load_f('no-such-file.sae   ', model, status, message)
        call check(status == H5ZSAE_SYSTEM .and. index(message, 'no-such-file.sae:') > 0, message)
        message = ''
        call h5zsae_model_parse_f([integer(int8) :: 1, 2, 3], model, status, message)
        call check(status /= H5ZSAE_OK .and. message /= '', 'no model')
        call check(h5zsae_register_filter() == H5ZSAE_UNSUPPORTED, 'no HDF5 in this program')
    end subroutine

    !> The words of docs/cd-values.md.
    subroutine cd_values_are_those_of_the_tools()
        integer(c_int), allocatable :: words(:)
        type(h5zsae_options) :: options
        character(500) :: message
        integer :: status
        options = h5zsae_options(bound_kind=H5ZSAE_BOUND_ABSOLUTE, bound=0.001_real64)
        call h5zsae_cd_values_f(options, words, status)
        call check(status == H5ZSAE_OK .and. all(words == [0, 1, -755914244, 1062232653, 0, 0, 0]), 'words')
        options%has_mask_value = 1
        options%mask_value = -1
        call h5zsae_cd_values_f(options, words, status, model_id=shiftl(5_c_int64_t, 32))
        call check(size(words) == H5ZSAE_MAX_CD_VALUES, 'words with a mask value')
        call check(all(words(5:) == [0, 5, 0, -1, -1]), 'model and mask value')
        options%bound = 0
        message = ''
        call h5zsae_cd_values_f(options, words, status, errmsg=message)
        call check(status == H5ZSAE_INVALID_ARGUMENT .and. size(words) == 0 .and. message /= '', 'a bound of 0')
    end subroutine
end program
