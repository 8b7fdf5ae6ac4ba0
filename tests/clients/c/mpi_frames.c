/* Reads and writes a dataset `/frames` (96 x 64 x 64, f32, 8 frames a chunk) from several ranks, for test_mpi.py.
 *
 *   mpi_frames write    FILE VALUES LAYOUT WORD...   creates the dataset with these cd_values, writes all frames
 *   mpi_frames rewrite  FILE VALUES LAYOUT           overwrites all frames but the first of each chunk
 *   mpi_frames reserve  FILE VALUES LAYOUT WORD...   early allocation and a fill value of -1; writes the first half
 *   mpi_frames alone    FILE VALUES LAYOUT WORD...   as write, but independently: HDF5 refuses that
 *   mpi_frames read     FILE VALUES TRANSFER         every rank reads all frames into VALUES.<rank>
 *
 * VALUES: raw native f32. LAYOUT: `blocks` (each rank has neighbouring frames, whole chunks) or `interleaved` (rank r
 * has the frames r, r + n, ..., so that several ranks write into each chunk). TRANSFER: `independent`, `collective`.
 * A rank that fails ends all ranks. */
#include <hdf5.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES = 96, ROWS = 64, COLS = 64, FRAME_VALUES = ROWS * COLS, FRAMES_PER_CHUNK = 8, MAX_WORDS = 32 };

static const float FILL = -1.0f;
static float values[FRAMES * FRAME_VALUES];
static int rank, n_ranks;

static hid_t must(hid_t result, const char *step)
{
    if (result < 0) {
        fprintf(stderr, "rank %d: %s failed\n", rank, step);
        MPI_Abort(MPI_COMM_WORLD, 3);
    }
    return result;
}

static hid_t open_file(const char *path, int create)
{
    hid_t access = must(H5Pcreate(H5P_FILE_ACCESS), "property list");
    must(H5Pset_fapl_mpio(access, MPI_COMM_WORLD, MPI_INFO_NULL), "MPI-IO");
    hid_t file = create ? H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access) : H5Fopen(path, H5F_ACC_RDWR, access);
    must(file, "opening the file");
    H5Pclose(access);
    return file;
}

static hid_t transfer(int is_collective)
{
    hid_t list = must(H5Pcreate(H5P_DATASET_XFER), "property list");
    must(H5Pset_dxpl_mpio(list, is_collective ? H5FD_MPIO_COLLECTIVE : H5FD_MPIO_INDEPENDENT), "transfer mode");
    return list;
}

/* Whether this rank has a frame. */
static int is_mine(const char *layout, int frame)
{
    if (strcmp(layout, "interleaved") == 0)
        return frame % n_ranks == rank;
    return frame * n_ranks / FRAMES == rank;
}

/* Selects those of the first `n_frames` that are this rank's; number `left_out` of each chunk is nobody's. */
static hid_t select_mine(const char *layout, int n_frames, int left_out)
{
    const hsize_t dims[3] = {FRAMES, ROWS, COLS}, one[3] = {1, ROWS, COLS};
    hid_t space = must(H5Screate_simple(3, dims, NULL), "dataspace");
    must(H5Sselect_none(space), "selection");
    for (int frame = 0; frame < n_frames; frame++) {
        const hsize_t start[3] = {(hsize_t)frame, 0, 0};
        if (is_mine(layout, frame) && frame % FRAMES_PER_CHUNK != left_out)
            must(H5Sselect_hyperslab(space, H5S_SELECT_OR, start, NULL, one, NULL), "selection");
    }
    return space;
}

static hid_t create_dataset(hid_t file, int is_reserved, int n_words, char **words)
{
    const hsize_t dims[3] = {FRAMES, ROWS, COLS}, chunk[3] = {FRAMES_PER_CHUNK, ROWS, COLS};
    unsigned cd_values[MAX_WORDS];
    must(n_words <= MAX_WORDS ? 0 : -1, "counting the cd_values");
    for (int i = 0; i < n_words; i++)
        cd_values[i] = (unsigned)strtoul(words[i], NULL, 10);
    hid_t list = must(H5Pcreate(H5P_DATASET_CREATE), "property list"), space = H5Screate_simple(3, dims, NULL);
    must(H5Pset_chunk(list, 3, chunk), "chunks");
    must(H5Pset_filter(list, 34222, H5Z_FLAG_MANDATORY, (size_t)n_words, cd_values), "filter");
    if (is_reserved) {
        must(H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY), "allocation time");
        must(H5Pset_fill_value(list, H5T_NATIVE_FLOAT, &FILL), "fill value");
    }
    hid_t dataset = H5Dcreate2(file, "frames", H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    must(dataset, "creating the dataset");
    H5Sclose(space);
    H5Pclose(list);
    return dataset;
}

static void write_selected(hid_t dataset, hid_t space, int is_collective)
{
    hid_t list = transfer(is_collective);
    must(H5Dwrite(dataset, H5T_NATIVE_FLOAT, space, space, list, values), "writing");
    H5Pclose(list);
    H5Sclose(space);
}

static void load(const char *path)
{
    FILE *file = fopen(path, "rb");
    int is_read = file && fread(values, sizeof values, 1, file) == 1;
    must(is_read ? 0 : -1, "loading the values");
    fclose(file);
}

static void store(const char *path)
{
    char name[4096];
    snprintf(name, sizeof name, "%s.%d", path, rank);
    FILE *file = fopen(name, "wb");
    int is_written = file && fwrite(values, sizeof values, 1, file) == 1 && fclose(file) == 0;
    must(is_written ? 0 : -1, "storing the values");
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    must(argc >= 5 ? 0 : -1, "reading the arguments");
    const char *verb = argv[1], *path = argv[2], *values_path = argv[3], *how = argv[4];
    int is_read = strcmp(verb, "read") == 0, is_rewrite = strcmp(verb, "rewrite") == 0;
    int is_reserved = strcmp(verb, "reserve") == 0, is_alone = strcmp(verb, "alone") == 0;

    hid_t file = open_file(path, !is_read && !is_rewrite), dataset;
    /* Loads the plugin: HDF5 1.10 does not, if the first use of a filter is to write into a dataset that is there. */
    if (is_rewrite)
        must(H5Zfilter_avail(34222) > 0 ? 0 : -1, "finding the filter");
    if (is_read || is_rewrite)
        dataset = must(H5Dopen2(file, "frames", H5P_DEFAULT), "opening the dataset");
    else
        dataset = create_dataset(file, is_reserved, argc - 5, argv + 5);
    if (is_read) {
        hid_t list = transfer(strcmp(how, "collective") == 0);
        must(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, list, values), "reading");
        H5Pclose(list);
        store(values_path);
    } else {
        load(values_path);
        hid_t space = select_mine(how, is_reserved ? FRAMES / 2 : FRAMES, is_rewrite ? 0 : FRAMES_PER_CHUNK);
        write_selected(dataset, space, !is_alone);
    }
    must(H5Dclose(dataset), "closing the dataset");
    must(H5Fclose(file), "closing the file");
    MPI_Finalize();
    return 0;
}
